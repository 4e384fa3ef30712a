"""Sentence encoders and embeddings at any size."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AdaptiveLayerLoss": "anysize.text.losses.two_d",
    "ArabicNormalizer": "anysize.text.arabic.normalizer",
    "CoSENTLoss": "anysize.text.tasks.losses",
    "Embedder": "anysize.text.embedder.model",
    "Encoder": "anysize.backbones.sentence",
    "FeatureStore": "anysize.backbones.kept",
    "InfoNCELoss": "anysize.text.tasks.losses",
    "MLM": "anysize.text.pretrain.methods",
    "MRL": "anysize.text.embedder.method",
    "Matryoshka2dLoss": "anysize.text.losses.two_d",
    "MatryoshkaLoss": "anysize.text.losses.dims",
    "RetrievalEvaluator": "anysize.evaluation.retrieval",
    "NeighbourEvaluator": "anysize.evaluation.retrieval",
    "SimilarityEvaluator": "anysize.evaluation.similarity",
    "NestedEncoder": "anysize.text.depth.model",
    "NestedWholeWordMask": "anysize.text.pretrain.masks",
    "SMAE": "anysize.text.pretrain.methods",
    "SeparationLoss": "anysize.text.tasks.losses",
    "Starbucks": "anysize.text.depth.methods",
    "StarbucksLoss": "anysize.text.losses.starbucks",
    "TaskEncoder": "anysize.text.tasks.model",
    "TaskLoRA": "anysize.text.tasks.model",
    "Tasks": "anysize.text.tasks.method",
    "TripletInfoNCELoss": "anysize.text.tasks.losses",
    "TwoDMSE": "anysize.text.depth.methods",
    "by_sentences": "anysize.backbones.texts.spans",
    "by_tokens": "anysize.backbones.texts.spans",
    "default_dims": "anysize.core.sizes.widths",
    "filter_translated_triplets": "anysize.text.arabic.translated",
    "from_published_jina": "anysize.text.tasks.jina_tasks",
    "late_chunk": "anysize.text.long.late_chunking",
    "late_chunks": "anysize.text.long.late_chunking",
    "rope_base": "anysize.backbones.rope",
    "set_rope_base": "anysize.backbones.rope",
    "similarity_metrics": "anysize.evaluation.similarity",
    "tokenizer_report": "anysize.text.arabic.vocabulary",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'anysize.text' has no attribute {name!r}")
