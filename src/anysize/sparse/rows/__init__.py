"""The rows that autoencoders learn from: read from a model, stored, streamed."""
