"""Other people's models, opened as ours: sentence encoders, stacks of blocks, language models."""
