"""Sparse codes that nest: one sparse-autoencoder engine, by dictionary prefix and by activation rank."""

from anysize.sparse.codes import Codes
from anysize.sparse.model import SparseAutoencoder

__all__ = ["Codes", "SparseAutoencoder"]
