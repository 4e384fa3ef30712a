"""Which modules are quantised: presets for transformers, or patterns over the modules' names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from anysize.core.errors import AnysizeError

ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
PRESETS = ("ffn", "attention", "linear", "embedding")


def stacks(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The lists of transformer blocks of a model: lists with attention in them, by name, none inside another."""
    found: dict[str, nn.ModuleList] = {}
    for name, part in model.named_modules():
        inside = any(name.startswith(f"{other}.") for other in found)
        if isinstance(part, nn.ModuleList) and not inside and any(ATTENTION.search(n) for n, _ in part.named_modules()):
            found[name] = part
    return found


def choose(model: nn.Module, patterns: str | Sequence[str]) -> dict[str, nn.Module]:
    """
    The modules to quantise, by name. A pattern is ``ffn`` (linear layers of the blocks outside attention, the paper's
    choice), ``attention``, ``linear`` (both), ``embedding`` (the largest table), or a name with ``*``; several are
    joined by commas.

    Raises `AnysizeError` if one matches nothing (it lists what there is), or if what it matches cannot be quantised.
    """
    refuse_quantised(model)
    asked = [part.strip() for part in patterns.split(",")] if isinstance(patterns, str) else list(patterns)
    there: dict[str, nn.Module] = {
        name: part for name, part in model.named_modules() if isinstance(part, nn.Linear | nn.Embedding)
    }
    chosen: dict[str, nn.Module] = {}
    for pattern in asked:
        found = [name for name in there if _matches(pattern, name, model, there)]
        if not found:
            kinds = dict.fromkeys(re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name) for name in there)
            raise AnysizeError(
                f"no linear layer or table matches {pattern!r}; write {', '.join(PRESETS)} or a pattern over: "
                f"{', '.join(kinds) or 'nothing, for this model has none'}"
            )
        chosen.update({name: there[name] for name in found})
    _refuse_shared(model, chosen)
    return {name: part for name, part in there.items() if name in chosen}


def _matches(pattern: str, name: str, model: nn.Module, there: dict[str, nn.Module]) -> bool:
    if pattern == "embedding":
        tables = {key: part.num_embeddings for key, part in there.items() if isinstance(part, nn.Embedding)}
        return bool(tables) and name == max(tables, key=lambda key: tables[key])
    if pattern in PRESETS:
        inside = next((name.removeprefix(path) for path in stacks(model) if name.startswith(f"{path}.")), None)
        if inside is None or not isinstance(there[name], nn.Linear):
            return False
        return pattern == "linear" or bool(ATTENTION.search(inside)) == (pattern == "attention")
    return fnmatchcase(name, pattern)


def refuse_quantised(model: nn.Module) -> None:
    """Raise `AnysizeError`, naming the layer, if a model is quantised already, by us or by another library."""
    from anysize.quantize.layers.fake import FakeQuantEmbedding, FakeQuantLinear
    from anysize.quantize.layers.stored import Stored

    for name, part in model.named_modules():
        if isinstance(part, FakeQuantLinear | FakeQuantEmbedding | Stored):
            raise AnysizeError(f"{name} is quantised already; start from a model with float weights")
        if getattr(getattr(part, "config", None), "quantization_config", None) is not None:
            raise AnysizeError("the model is quantised already, as its quantization_config says; start from float ones")
        weight: Any = getattr(part, "weight", None)
        plain = type(weight) in (nn.Parameter, torch.Tensor) and weight.is_floating_point()
        if isinstance(part, nn.Linear | nn.Embedding) and not plain:
            raise AnysizeError(
                f"the weight of {name} is {type(weight).__name__} of {getattr(weight, 'dtype', 'no type')}, so it is "
                "quantised already; start from a model with float weights"
            )


def _refuse_shared(model: nn.Module, chosen: dict[str, nn.Module]) -> None:
    """A weight that two modules share (tied embeddings) would be cut in two."""
    held = Counter(id(part.weight) for _, part in model.named_modules() if getattr(part, "weight", None) is not None)
    for name, part in chosen.items():
        if held[id(part.weight)] > 1:
            raise AnysizeError(f"{name} shares its weight with another module, so it cannot be quantised alone")
