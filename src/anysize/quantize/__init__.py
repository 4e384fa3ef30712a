"""One file, every precision: MatQuant (Nair et al. 2025, arXiv 2502.06786) on the axis `bits`."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "average_bits": "anysize.quantize.model.mixing",
    "by_pattern": "anysize.quantize.model.mixing",
    "by_sensitivity": "anysize.quantize.model.mixing",
    "CausalLM": "anysize.backbones.causal",
    "FakeQuantEmbedding": "anysize.quantize.layers.fake",
    "FakeQuantLinear": "anysize.quantize.layers.fake",
    "MatQuant": "anysize.quantize.training.method",
    "Quantized": "anysize.quantize.model.model",
    "QuantizedEncoder": "anysize.quantize.model.encoder",
    "QuantizedLM": "anysize.quantize.model.language",
    "Scheme": "anysize.quantize.codes.scheme",
    "convert": "anysize.quantize.layers.preparing",
    "finished": "anysize.quantize.model.making",
    "prepare": "anysize.quantize.layers.preparing",
    "prepared": "anysize.quantize.model.making",
    "running_at": "anysize.quantize.codes.running",
    "sensitivity": "anysize.quantize.model.mixing",
    "slice_bits": "anysize.quantize.codes.slicing",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'anysize.quantize' has no attribute {name!r}")
