"""Sparse codes that nest: one sparse-autoencoder engine, by dictionary prefix and by activation rank."""

from anysize.sparse.alignment import cknna
from anysize.sparse.calibration import calibrate, threshold_for
from anysize.sparse.codes import Codes
from anysize.sparse.concepts import bias, concept_search, edit, neighbours_after
from anysize.sparse.csr import CSR
from anysize.sparse.evaluate import reconstruction
from anysize.sparse.fitting import fit_together
from anysize.sparse.fixed import BatchTopK, JumpReLU, ReLU, TopK
from anysize.sparse.geometry import rsa
from anysize.sparse.granularity import granularity_curve, recaptured
from anysize.sparse.looking import look
from anysize.sparse.measures import cosine, fvu, fvu_per_sample
from anysize.sparse.methods import MSAE, MatryoshkaSAE
from anysize.sparse.model import SparseAutoencoder
from anysize.sparse.naming import directions, name_concepts
from anysize.sparse.powerlaw import fit_power_law
from anysize.sparse.probing import fit_probe, preserved
from anysize.sparse.pruning import prune, sort_by_importance
from anysize.sparse.recapture import LanguageModelLoss
from anysize.sparse.scores import importance

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
