"""Sparse codes that nest: one sparse-autoencoder engine, by dictionary prefix and by activation rank."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anysize.sparse.autoencoder.codes import Codes as Codes
    from anysize.sparse.autoencoder.model import SparseAutoencoder as SparseAutoencoder
    from anysize.sparse.concepts.editing import bias as bias
    from anysize.sparse.concepts.editing import concept_search as concept_search
    from anysize.sparse.concepts.editing import edit as edit
    from anysize.sparse.concepts.editing import neighbours_after as neighbours_after
    from anysize.sparse.concepts.naming import directions as directions
    from anysize.sparse.concepts.naming import name_concepts as name_concepts
    from anysize.sparse.learning.calibration import calibrate as calibrate
    from anysize.sparse.learning.calibration import threshold_for as threshold_for
    from anysize.sparse.looking.gather import look as look
    from anysize.sparse.measuring.alignment import cknna as cknna
    from anysize.sparse.measuring.errors_of_rows import cosine as cosine
    from anysize.sparse.measuring.errors_of_rows import fvu as fvu
    from anysize.sparse.measuring.errors_of_rows import fvu_per_sample as fvu_per_sample
    from anysize.sparse.measuring.geometry import rsa as rsa
    from anysize.sparse.measuring.probing import fit_probe as fit_probe
    from anysize.sparse.measuring.probing import preserved as preserved
    from anysize.sparse.measuring.rebuilt import reconstruction as reconstruction
    from anysize.sparse.methods.csr import CSR as CSR
    from anysize.sparse.methods.fit import fit_together as fit_together
    from anysize.sparse.methods.fixed import BatchTopK as BatchTopK
    from anysize.sparse.methods.fixed import JumpReLU as JumpReLU
    from anysize.sparse.methods.fixed import ReLU as ReLU
    from anysize.sparse.methods.fixed import TopK as TopK
    from anysize.sparse.methods.options import MSAE as MSAE
    from anysize.sparse.methods.options import MatryoshkaSAE as MatryoshkaSAE
    from anysize.sparse.pruning.granularity import granularity_curve as granularity_curve
    from anysize.sparse.pruning.granularity import recaptured as recaptured
    from anysize.sparse.pruning.importance import importance as importance
    from anysize.sparse.pruning.powerlaw import fit_power_law as fit_power_law
    from anysize.sparse.pruning.prune import prune as prune
    from anysize.sparse.pruning.prune import sort_by_importance as sort_by_importance
    from anysize.sparse.pruning.recapture import LanguageModelLoss as LanguageModelLoss

_HOMES = {
    "BatchTopK": "anysize.sparse.methods.fixed",
    "CSR": "anysize.sparse.methods.csr",
    "Codes": "anysize.sparse.autoencoder.codes",
    "JumpReLU": "anysize.sparse.methods.fixed",
    "LanguageModelLoss": "anysize.sparse.pruning.recapture",
    "MSAE": "anysize.sparse.methods.options",
    "MatryoshkaSAE": "anysize.sparse.methods.options",
    "ReLU": "anysize.sparse.methods.fixed",
    "SparseAutoencoder": "anysize.sparse.autoencoder.model",
    "TopK": "anysize.sparse.methods.fixed",
    "bias": "anysize.sparse.concepts.editing",
    "calibrate": "anysize.sparse.learning.calibration",
    "cknna": "anysize.sparse.measuring.alignment",
    "concept_search": "anysize.sparse.concepts.editing",
    "cosine": "anysize.sparse.measuring.errors_of_rows",
    "directions": "anysize.sparse.concepts.naming",
    "edit": "anysize.sparse.concepts.editing",
    "fit_power_law": "anysize.sparse.pruning.powerlaw",
    "fit_probe": "anysize.sparse.measuring.probing",
    "fit_together": "anysize.sparse.methods.fit",
    "fvu": "anysize.sparse.measuring.errors_of_rows",
    "fvu_per_sample": "anysize.sparse.measuring.errors_of_rows",
    "granularity_curve": "anysize.sparse.pruning.granularity",
    "importance": "anysize.sparse.pruning.importance",
    "look": "anysize.sparse.looking.gather",
    "name_concepts": "anysize.sparse.concepts.naming",
    "neighbours_after": "anysize.sparse.concepts.editing",
    "preserved": "anysize.sparse.measuring.probing",
    "prune": "anysize.sparse.pruning.prune",
    "recaptured": "anysize.sparse.pruning.granularity",
    "reconstruction": "anysize.sparse.measuring.rebuilt",
    "rsa": "anysize.sparse.measuring.geometry",
    "sort_by_importance": "anysize.sparse.pruning.prune",
    "threshold_for": "anysize.sparse.learning.calibration",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'anysize.sparse' has no attribute {name!r}")
