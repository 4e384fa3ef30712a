"""
Rotary positions with another base (Su et al. 2021, arXiv 2104.09864): jina-embeddings-v3 trains with 10,000 and serves
with 20,000, to read inputs longer than those it was trained on (Sturua et al. 2024, arXiv 2409.10173, section 3).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anysize.core.errors import AnysizeError

TRAINED = "rope_theta_trained"
"""Where a configuration keeps the base of training beside that of use, so that neither drifts silently."""


def rope_base(model: nn.Module) -> float | dict[str, float]:
    """
    The base theta of a model's rotary positions; by kind of layer, where kinds differ (ModernBERT).

    Raises `AnysizeError` for a model without rotary positions.
    """
    kinds = _parameters(model)
    bases = {kind: float(values["rope_theta"]) for kind, values in kinds.items()}
    return bases.get("", bases)


def set_rope_base(model: nn.Module, theta: float) -> None:
    """
    Give a Hugging Face model's rotary positions another base, in place; its configuration keeps both.

    Where layers attend to a window only (ModernBERT's sliding layers), those stay as they are: their distances do not
    grow with the input. Raises `AnysizeError` for a model without rotary positions or a base that is not above 1.
    """
    if not theta > 1:
        raise AnysizeError(f"the base of rotary positions must be above 1; got {theta}")
    config: Any = model.config
    kinds = _parameters(model)
    if getattr(config, TRAINED, None) is None:
        setattr(config, TRAINED, rope_base(model))
    for kind, values in kinds.items():
        if "sliding" not in kind:
            values["rope_theta"] = float(theta)
    for module in _rotary(model):
        # The tables are made anew by the class that made them, from the configuration, on the device where they are.
        fresh = type(module)(config)
        for name, buffer in module.named_buffers(recurse=False):
            with torch.no_grad():
                buffer.copy_(fresh.get_buffer(name))


def _parameters(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Kind of layer -> its rotary parameters, as they stand in the configuration; one kind has the name ''."""
    config: Any = getattr(model, "config", None)
    found = getattr(config, "rope_parameters", None)
    if not found or not _rotary(model):
        kind = getattr(config, "model_type", type(model).__name__)
        raise AnysizeError(f"a model of type {kind!r} has no rotary positions (RoPE), so no base to change")
    return {"": found} if "rope_theta" in found else found


def _rotary(model: nn.Module) -> list[nn.Module]:
    return [
        module
        for module in model.modules()
        if hasattr(module, "config")
        and any(name.endswith("inv_freq") for name, _ in module.named_buffers(recurse=False))
    ]
