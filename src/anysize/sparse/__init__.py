"""Sparse codes that nest: one sparse-autoencoder engine, by dictionary prefix and by activation rank."""

from anysize.sparse.calibration import calibrate, threshold_for
from anysize.sparse.codes import Codes
from anysize.sparse.csr import CSR
from anysize.sparse.evaluate import reconstruction
from anysize.sparse.fitting import fit_together
from anysize.sparse.methods import MSAE, BatchTopK, MatryoshkaSAE, ReLU, TopK
from anysize.sparse.model import SparseAutoencoder

__all__ = [
    "BatchTopK",
    "CSR",
    "Codes",
    "MSAE",
    "MatryoshkaSAE",
    "ReLU",
    "SparseAutoencoder",
    "TopK",
    "calibrate",
    "fit_together",
    "reconstruction",
    "threshold_for",
]
