"""Classification at any size: MRL and MRL-E heads, and the cascade that stops early (Kusupati et al. 2022)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anysize.classify.cascade import AdaptiveClassifier as AdaptiveClassifier
    from anysize.classify.cascade import Cap as Cap
    from anysize.classify.cascade import Exits as Exits
    from anysize.classify.classifier import Classifier as Classifier
    from anysize.classify.fit import fit_classifier as fit_classifier
    from anysize.classify.heads import MRLHead as MRLHead
    from anysize.classify.heads import nested_cross_entropy as nested_cross_entropy
    from anysize.classify.method import MRLClassifier as MRLClassifier
    from anysize.evaluation.accuracy import AccuracyEvaluator as AccuracyEvaluator

_HOMES = {
    "AccuracyEvaluator": "anysize.evaluation.accuracy",
    "AdaptiveClassifier": "anysize.classify.cascade",
    "Cap": "anysize.classify.cascade",
    "Classifier": "anysize.classify.classifier",
    "Exits": "anysize.classify.cascade",
    "MRLClassifier": "anysize.classify.method",
    "MRLHead": "anysize.classify.heads",
    "fit_classifier": "anysize.classify.fit",
    "nested_cross_entropy": "anysize.classify.heads",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'anysize.classify' has no attribute {name!r}")
