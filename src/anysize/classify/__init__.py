"""Classification at any size: MRL and MRL-E heads, and the cascade that stops early (Kusupati et al. 2022)."""

from __future__ import annotations

from anysize.classify.cascade import AdaptiveClassifier as AdaptiveClassifier
from anysize.classify.cascade import Cap as Cap
from anysize.classify.cascade import Exits as Exits
from anysize.classify.classifier import Classifier as Classifier
from anysize.classify.fit import fit_classifier as fit_classifier
from anysize.classify.heads import MRLHead as MRLHead
from anysize.classify.heads import nested_cross_entropy as nested_cross_entropy
from anysize.classify.method import MRLClassifier as MRLClassifier
from anysize.evaluation.accuracy import AccuracyEvaluator as AccuracyEvaluator
