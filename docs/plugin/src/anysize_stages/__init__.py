"""Vectors in a few bytes: each stage of a residual quantizer corrects those before it, so the first few are enough."""
