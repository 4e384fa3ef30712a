"""Retrieval among documents that mix text and pictures, at any number of tokens a picture (MME, arXiv 2502.12799)."""
