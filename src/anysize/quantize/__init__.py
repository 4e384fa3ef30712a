"""One file, every precision: MatQuant (Nair et al. 2025, arXiv 2502.06786) on the axis `bits`."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "average_bits": "mixing",
    "by_pattern": "mixing",
    "by_sensitivity": "mixing",
    "CausalLM": "causal",
    "FakeQuantEmbedding": "linear",
    "FakeQuantLinear": "linear",
    "MatQuant": "method",
    "Quantized": "model",
    "QuantizedEncoder": "encoder",
    "QuantizedLM": "language",
    "Scheme": "scheme",
    "convert": "preparing",
    "finished": "making",
    "prepare": "preparing",
    "prepared": "making",
    "running_at": "widths",
    "sensitivity": "mixing",
    "slice_bits": "slicing",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"anysize.quantize.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'anysize.quantize' has no attribute {name!r}")
