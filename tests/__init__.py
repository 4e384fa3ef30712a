"""The tests: the same tree as the package. Shapes in signatures of the numerical files are checked at every call."""

from jaxtyping import install_import_hook

# Before those files are imported, which is why it stands here.
install_import_hook(["anysize.core.prefix", "anysize.text.head", "anysize.classify.heads"], "beartype.beartype")
