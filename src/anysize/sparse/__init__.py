"""Sparse codes that nest: one sparse-autoencoder engine, by dictionary prefix and by activation rank."""

from anysize.sparse.autoencoder.codes import Codes
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.concepts.editing import bias, concept_search, edit, neighbours_after
from anysize.sparse.concepts.naming import directions, name_concepts
from anysize.sparse.learning.calibration import calibrate, threshold_for
from anysize.sparse.looking.gather import look
from anysize.sparse.measuring.alignment import cknna
from anysize.sparse.measuring.errors_of_rows import cosine, fvu, fvu_per_sample
from anysize.sparse.measuring.geometry import rsa
from anysize.sparse.measuring.probing import fit_probe, preserved
from anysize.sparse.measuring.reconstruction import reconstruction
from anysize.sparse.methods.csr import CSR
from anysize.sparse.methods.fit import fit_together
from anysize.sparse.methods.fixed import BatchTopK, JumpReLU, ReLU, TopK
from anysize.sparse.methods.options import MSAE, MatryoshkaSAE
from anysize.sparse.pruning.granularity import granularity_curve, recaptured
from anysize.sparse.pruning.importance import importance
from anysize.sparse.pruning.powerlaw import fit_power_law
from anysize.sparse.pruning.prune import prune, sort_by_importance
from anysize.sparse.pruning.recapture import LanguageModelLoss

__all__ = [
    "BatchTopK",
    "CSR",
    "Codes",
    "JumpReLU",
    "LanguageModelLoss",
    "MSAE",
    "MatryoshkaSAE",
    "ReLU",
    "SparseAutoencoder",
    "TopK",
    "bias",
    "calibrate",
    "cknna",
    "concept_search",
    "cosine",
    "directions",
    "edit",
    "fit_power_law",
    "fit_probe",
    "fit_together",
    "fvu",
    "fvu_per_sample",
    "granularity_curve",
    "importance",
    "look",
    "name_concepts",
    "neighbours_after",
    "preserved",
    "prune",
    "recaptured",
    "reconstruction",
    "rsa",
    "sort_by_importance",
    "threshold_for",
]
