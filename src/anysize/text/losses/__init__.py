"""Drop-in losses for sentence-transformers: dimensions, layers, and both."""
