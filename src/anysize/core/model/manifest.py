"""The file by which a folder is known to hold a model of ours."""

MANIFEST = "anysize.json"
