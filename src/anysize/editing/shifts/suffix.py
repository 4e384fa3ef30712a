"""
The part of a language model above one block, run by the model's own forward from states that are given.

The blocks up to the edited one are replaced, in a copy that shares all weights, by ones that pass the given states on.
So masks, rotary angles, caches, the final norm, a capped or tied head are the model's own business.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from anysize.backbones.blocks import find_stack, shallow
from anysize.backbones.twins import with_parts
from anysize.core.errors import AnysizeError

Shifts = Mapping[tuple[int, int], torch.Tensor]
"""(row, place in the batch) -> what is added to the state there, (d,)."""


def hidden(output: Any) -> torch.Tensor:
    """The states that a block gives, which some models put into a tuple."""
    found: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return found


def like(output: Any, states: torch.Tensor) -> Any:
    """Other states, in the form of a block's output."""
    return (states, *output[1:]) if isinstance(output, tuple) else states


@contextmanager
def injecting(block: nn.Module, shifts: Shifts, begin: int = 0) -> Iterator[None]:
    """While it lasts, a block adds `shifts` to its output; those before the place `begin` are not there any more."""

    def add(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        states = hidden(output)
        more = torch.zeros_like(states)
        for (row, place), shift in shifts.items():
            if begin <= place < begin + states.shape[1]:
                more[row, place - begin] = shift.to(states)
        return like(output, states + more)

    handle = block.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def frozen(lm: nn.Module) -> Iterator[None]:
    """While it lasts, no parameter asks for a gradient: half the time of a step."""
    learning = [weight for weight in lm.parameters() if weight.requires_grad]
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)


def block_at(lm: Any, layer: int) -> nn.Module:
    """A block of a model, the first 0. Raises `AnysizeError`, naming the range, where there is none."""
    blocks = find_stack(lm).blocks(lm)
    if type(layer) is not int or not 0 <= layer < len(blocks):
        raise AnysizeError(f"there is no layer {layer}; this model has layers 0 to {len(blocks) - 1}")
    return blocks[layer]


def layers_of(lm: Any, named: Sequence[int | str]) -> list[int]:
    """
    The numbers of blocks, the first 0, that are named by number, by path (``model.layers.5``) or by depth (``40%``).

    Raises `AnysizeError`, telling what the model has, for one that is not there, and for an order that does not rise.
    """
    stack = find_stack(lm)
    names = [f"{stack.path}.{layer}" for layer in range(stack.depth)]
    found = []
    for one in named:
        share = re.fullmatch(r"(\d{1,2}(?:\.\d+)?)%", str(one))
        if one in names:
            found.append(names.index(str(one)))
        elif share:
            found.append(int(float(share[1]) / 100 * stack.depth + 1e-9))
        elif type(one) is int and 0 <= one < stack.depth:
            found.append(one)
        else:
            raise AnysizeError(
                f"there is no layer {one!r}; this model has layers 0 to {stack.depth - 1}, which are {names[0]} to "
                f"{names[-1]}, or by their depth 0% to 99%"
            )
    if found != sorted(set(found)):
        raise AnysizeError(f"layers rise, each named once; got {', '.join(map(str, named))}")
    return found


class Suffix:
    """What follows block `layer`, the first of which is 0."""

    def __init__(self, lm: Any, layer: int) -> None:
        self.lm, self.layer = lm, layer
        self.block = block_at(lm, layer)
        known = inspect.signature(lm.forward).parameters
        self._cache = "cache" if "cache" in known else "past_key_values"
        self._given: torch.Tensor | None = None
        self._form: Any = None
        stack = find_stack(lm)
        blocks = list(stack.blocks(lm))
        passing: list[nn.Module] = [self._passing(block) for block in blocks[: layer + 1]]
        self.twin = with_parts(lm, {stack.path: nn.ModuleList([*passing, *blocks[layer + 1 :]])})

    def _passing(self, block: nn.Module) -> Any:
        """A block that gives the given states, whatever it reads; its attributes are those of the real one."""
        stub = shallow(block)
        stub.__dict__["forward"] = lambda *_, **__: like(self._form, self._given)  # type: ignore[arg-type]  # given by then
        return stub

    @torch.no_grad()
    def states(self, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the block gives for a sequence, (1, tokens, d), and the model's logits (tokens, vocabulary)."""
        seen: list[Any] = []
        handle = self.block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        try:
            logits = self.lm(input_ids=self._row(ids), use_cache=False).logits[0].float()
        finally:
            handle.remove()
        self._form = tuple(None for _ in seen[0]) if isinstance(seen[0], tuple) else seen[0]
        return hidden(seen[0]), logits

    @torch.no_grad()
    def prefix(self, ids: Sequence[int], shifts: Mapping[int, torch.Tensor]) -> Any:
        """What attention keeps of a sequence whose states are shifted at these places; None for no tokens."""
        if not ids:
            return None
        with injecting(self.block, {(0, place): shift for place, shift in shifts.items()}):
            return self.lm(input_ids=self._row(ids), use_cache=True)[self._cache]

    def logits(self, ids: Sequence[int], states: torch.Tensor, kept: Any = None) -> torch.Tensor:
        """Logits (tokens, vocabulary) of these ids, whose states (1, tokens, d) are given, after what is `kept`."""
        self._given = states
        given = {"use_cache": False} if kept is None else {self._cache: copy.deepcopy(kept), "use_cache": True}
        found: torch.Tensor = self.twin(input_ids=self._row(ids), **given).logits[0]
        return found.float()

    def _row(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(ids)], device=next(iter(self.lm.parameters())).device)
