"""The float model that is quantised: a saved nested model, or a language model or sentence encoder by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anysize.backbones.causal import CausalLM, is_causal_lm
from anysize.core.errors import AnysizeError
from anysize.core.model.faces import Embeds
from anysize.core.model.manifest import MANIFEST
from anysize.core.registry import find
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.load import load

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel


def source(name: str, nesting: Nesting, max_length: int | None = None) -> NestedModel:
    """
    The model called `name`, nested in what `nesting` has beside bits (layers, dims); whole where it has nothing.

    Weights stored in 16 bits become 32: in their rounding, a step of training would be lost.
    Raises `AnysizeError` if it is quantised already, `SizeError` if it has not these sizes.
    """
    if (Path(name) / MANIFEST).exists():
        model: Any = load(name)
        if "bits" in model.nesting.axes:
            raise AnysizeError(f"{name} is quantised already; start from the model with float weights")
        inner = _beside_bits(nesting, model.nesting.full)
        for size in inner:
            model.nesting.resolve(size)
        model = type(model).load(name, inner.full)
    elif is_causal_lm(name):
        model = CausalLM.from_pretrained(name, max_length=max_length)
        inner = _beside_bits(nesting, model.nesting.full)
        if inner != model.nesting:
            model = CausalLM(inner, model.lm, model.max_length)  # refuses it in words
    else:
        kind = find("models", "encoder")
        model = kind.from_pretrained(name, layers=(1,))
        whole = Size(layers=model.encoder.depth, dims=model.encoder.width)
        model = kind(_beside_bits(nesting, whole), model.encoder)
        model.about = {"options": {"model": name}}
    if max_length is not None and model.gives == "next tokens":
        model.max_length = max_length
    elif max_length is not None and isinstance(model, Embeds):
        model.encoder.settings["max_length"] = max_length
    if any(weight.dtype in (torch.float16, torch.bfloat16) for weight in model.parameters()):
        model = model.float()
    return model.eval()


def _beside_bits(nesting: Nesting, whole: Size) -> Nesting:
    """The sizes of the float model that a nesting reaches, the axes it does not name at their largest value."""
    from anysize.quantize.model.inner import inner_nesting

    return inner_nesting(nesting, whole) if len(nesting.axes) > 1 else Nesting.pairs([whole])
