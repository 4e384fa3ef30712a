"""Sparse codes that nest: one sparse-autoencoder engine, by dictionary prefix and by activation rank."""

from anysize.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
