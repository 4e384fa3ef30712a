"""Beam codebooks of massive MIMO: one book, whose first beams are a book of their own."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
