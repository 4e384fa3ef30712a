"""Sentence encoders and embeddings at any size."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AdaptiveLayerLoss": "losses_2d",
    "ArabicNormalizer": "arabic",
    "CoSENTLoss": "task_losses",
    "Embedder": "embedder",
    "Encoder": "encoder",
    "FeatureStore": "features",
    "InfoNCELoss": "task_losses",
    "MLM": "pretrainers",
    "MRL": "mrl",
    "Matryoshka2dLoss": "losses_2d",
    "MatryoshkaLoss": "losses",
    "RetrievalEvaluator": "evaluate",
    "NeighbourEvaluator": "evaluate",
    "SimilarityEvaluator": "similarity",
    "NestedEncoder": "nested_encoder",
    "NestedWholeWordMask": "smae_masks",
    "SMAE": "pretrainers",
    "SeparationLoss": "task_losses",
    "Starbucks": "layered_methods",
    "StarbucksLoss": "losses_starbucks",
    "TaskEncoder": "tasks",
    "TaskLoRA": "tasks",
    "Tasks": "task_method",
    "TripletInfoNCELoss": "task_losses",
    "TwoDMSE": "layered_methods",
    "by_sentences": "spans",
    "by_tokens": "spans",
    "default_dims": "mrl",
    "filter_translated_triplets": "translated",
    "from_published_jina": "jina_tasks",
    "late_chunk": "late_chunking",
    "late_chunks": "late_chunking",
    "rope_base": "rope",
    "set_rope_base": "rope",
    "similarity_metrics": "similarity",
    "tokenizer_report": "vocabulary",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"anysize.text.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'anysize.text' has no attribute {name!r}")
