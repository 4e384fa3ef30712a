"""One process that serves saved models and indexes at every size, with the API that people already use."""
