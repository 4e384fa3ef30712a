"""Embeddings that were computed once, and whose they are."""
