"""The weight that a closed form writes to: a block's last linear layer, whose input MEMIT calls a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anysize.backbones.blocks import find_stack
from anysize.core.errors import AnysizeError
from anysize.core.files import read_object
from anysize.core.model.manifest import MANIFEST
from anysize.editing.shifts.suffix import block_at

KNOWN = ("mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h", "mlp.fc_out", "mlp.fc2", "fc2", "feed_forward.w2",
         "ffn.down_proj", "mlp.dense_4h", "mlp.proj_2")  # fmt: skip


@dataclass(frozen=True)
class Projection:
    """A linear layer of one block."""

    name: str
    """Of its weight, in the whole model."""
    module: nn.Module
    turned: bool
    """Whether the weight is (in, out), as GPT-2 has it, and not (out, in)."""


def projection(lm: Any, layer: int, named: str | None = None) -> Projection:
    """
    The last linear layer of a block, by its name inside the block where that is unusual.

    Raises `AnysizeError`, listing the block's linear layers, where none is found, and for one that other modules share.
    """
    block, home = block_at(lm, layer), f"{find_stack(lm).path}.{layer}"
    inside = dict(block.named_modules())
    found = next((name for name in ((named,) if named else KNOWN) if _is_linear(inside.get(name))), None)
    if found is None:
        there = ", ".join(name for name, part in inside.items() if _is_linear(part)) or "none that can be written to"
        what = f"no linear layer called {named!r}" if named else "no linear layer whose name is known"
        raise AnysizeError(f"block {layer} has {what}; name one of its own with projection: {there}")
    module = inside[found]
    return Projection(f"{home}.{found}.weight", module, type(module).__name__ == "Conv1D")


def _is_linear(part: nn.Module | None) -> bool:
    """Whether this is an ordinary linear layer, of transformers' two kinds: a quantised one is of another class."""
    return part is not None and (type(part) is nn.Linear or type(part).__name__ == "Conv1D")


def check_editable(lm: Any) -> None:
    """Raise `AnysizeError` for a model whose weights are not floats of their own: a quantised one."""
    whole = [name for name, weight in lm.named_parameters() if not weight.is_floating_point()]
    if whole:
        raise _quantised(f"the weight {whole[0]} holds whole numbers")
    if getattr(lm.config, "quantization_config", None) is not None:
        raise _quantised("its configuration says so")


def check_folder(name: str) -> None:
    """Raise `AnysizeError` for the folder of a quantised model, which may not even load here, or of one of our own."""
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        raise AnysizeError(
            f"{name} is a model of anysize; make a checkpoint of it first, and edit that: anysize cut {name} --out OUT"
        )
    config = folder / "config.json"
    if config.is_file() and "quantization_config" in read_object(config, "the configuration of a model"):
        raise _quantised("its configuration says so")


def _quantised(why: str) -> AnysizeError:
    return AnysizeError(
        f"this model is quantised ({why}), and a change as small as an edit would be lost in rounding; edit the model "
        "that it was made from, and quantise the result"
    )


@contextmanager
def keeping_inputs(modules: Sequence[nn.Module]) -> Iterator[list[list[torch.Tensor]]]:
    """While it lasts, what each of these modules reads is kept: a list of tensors for each."""
    seen: list[list[torch.Tensor]] = [[] for _ in modules]

    def keeper(into: list[torch.Tensor]) -> Any:
        return lambda _module, inputs: into.append(inputs[0].detach())

    handles = [module.register_forward_pre_hook(keeper(into)) for module, into in zip(modules, seen, strict=True)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
