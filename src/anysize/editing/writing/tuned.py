"""
Edits written by gradient descent: UnKE's fine-tuning of a block to give the shifted states, and plain fine-tuning.

UnKE (Deng et al. 2024) fits all weights of the block to its own output, shifted at the places of the shifts, beside the
outputs that other prompts shall keep. Plain fine-tuning of the block on the answer is the rival that every figure of
this family stands beside (FT-UKE, arXiv 2506.09672).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from anysize.backbones.blocks import find_stack
from anysize.editing.deltas.changes import Whole
from anysize.editing.deltas.delta import Delta
from anysize.editing.requests.prompting import Encoded
from anysize.editing.shifts.optimise import Found, NotFiniteError
from anysize.editing.shifts.suffix import block_at, frozen, hidden
from anysize.editing.writing.preserve import Preserved


@dataclass(frozen=True)
class Tuning:
    """AdamW's settings. `stop`: the mean answer loss at which plain fine-tuning ends."""

    rate: float = 2e-4
    steps: int = 50
    decay: float = 0.01
    stop: float = 0.01


@dataclass
class _Call:
    """One run of a block: what it read, what it shall give (1, tokens, d)."""

    given: tuple[Any, ...]
    named: dict[str, Any]
    wanted: torch.Tensor


@torch.no_grad()
def _call(lm: Any, layer: int, ids: Sequence[int]) -> _Call:
    """How the model itself runs a block for a sequence."""
    seen: list[Any] = []
    block = block_at(lm, layer)
    handle = block.register_forward_hook(
        lambda _module, given, named, output: seen.append((given, named, hidden(output).clone())), with_kwargs=True
    )
    try:
        lm(input_ids=torch.tensor([list(ids)], device=next(iter(lm.parameters())).device), use_cache=False)
    finally:
        handle.remove()
    return _Call(*seen[0])


def unke(
    lm: Any, edits: Sequence[tuple[Encoded, Found]], layers: Sequence[int], preserved: Preserved, tuning: Tuning
) -> dict[str, Whole]:
    """
    The changes of all weights of the blocks at `layers`, a step for each window: those of the first windows first.

    The steps are shared out among the windows. Raises `NotFiniteError` where the loss is no finite number.
    """
    most = max(len(found.places) for _, found in edits)
    now, changes = lm, dict[str, Whole]()
    for done, layer in enumerate(layers):
        block = block_at(now, layer)
        keep = [_call(now, layer, ids) for ids, _ in preserved.answered]
        calls = [_call(now, layer, encoded.ids[:-1]) for encoded, _ in edits]
        ends = [_call(now, layers[-1], encoded.ids[:-1]).wanted for encoded, _ in edits]
        weights = _learning(block)
        first, before, steps = weights, _copies(weights), [dict[str, torch.Tensor]() for _ in range(most)]
        with frozen(now):
            for j in range(1, most + 1):
                targets = [
                    _shifted(call, end, found, j, len(layers) - done)
                    for call, end, (_, found) in zip(calls, ends, edits, strict=True)
                ]
                both = partial(_distances, block, weights, [keep, targets])
                _descend(weights, both, tuning, tuning.steps * j // most - tuning.steps * (j - 1) // most)
                after = _copies(weights)
                steps[j - 1] = {name: after[name] - before[name] for name in after}
                before = after
        home = f"{find_stack(lm).path}.{layer}"
        found_here = {f"{home}.{name}": Whole(torch.stack([one[name] for one in steps])) for name in first}
        changes |= found_here
        now = Delta(changes, (), "").view(lm)
    return changes


def _shifted(call: _Call, end: torch.Tensor, found: Found, windows: int, left: int) -> _Call:
    """What a block shall give: its own output, moved at the first so many places towards the shifted states."""
    wanted, at = call.wanted.clone(), torch.tensor(found.places[:windows])
    goal = (found.states + found.shifts)[:windows].to(wanted)
    wanted[0, at] += (goal - end[0, at]) / left
    return _Call(call.given, call.named, wanted)


def _distances(block: nn.Module, weights: dict[str, nn.Parameter], groups: Sequence[Sequence[_Call]]) -> torch.Tensor:
    """The mean squared difference over all values of a group of calls, summed over the groups."""
    return torch.stack([_distance(block, weights, calls) for calls in groups]).sum()


def _distance(block: nn.Module, weights: dict[str, nn.Parameter], calls: Sequence[_Call]) -> torch.Tensor:
    found = [
        ((hidden(functional_call(block, dict(weights), one.given, one.named)) - one.wanted) ** 2).sum() for one in calls
    ]
    return torch.stack(found).sum() / sum(one.wanted.numel() for one in calls)


def fine_tune(lm: Any, edits: Sequence[Encoded], layers: Sequence[int], tuning: Tuning) -> dict[str, Whole]:
    """
    The changes of all weights of the blocks at `layers` after fine-tuning on the answers, whole, in one step.

    It ends as soon as the mean loss over the answers is at most `tuning.stop`.
    """
    stack = find_stack(lm)
    weights: dict[str, nn.Parameter] = {}
    for layer in layers:
        weights |= {f"{stack.path}.{layer}.{name}": one for name, one in _learning(block_at(lm, layer)).items()}
    before = _copies(weights)
    device = next(iter(lm.parameters())).device

    def loss() -> torch.Tensor:
        each = []
        for one in edits:
            ids = torch.tensor([list(one.ids)], device=device)
            logits = functional_call(lm, dict(weights), (), {"input_ids": ids[:, :-1], "use_cache": False}).logits
            each.append(functional.cross_entropy(logits[0, one.start - 1 :].float(), ids[0, one.start :]))
        return torch.stack(each).mean()

    with frozen(lm):
        _descend(weights, loss, tuning, tuning.steps, tuning.stop)
    return {name: Whole((one - before[name])[None]) for name, one in _copies(weights).items()}


def _learning(block: nn.Module) -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(one.detach().clone()) for name, one in block.named_parameters()}


def _copies(weights: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in weights.items()}


def _descend(
    weights: dict[str, nn.Parameter], loss: Callable[[], torch.Tensor], tuning: Tuning, steps: int, stop: float = 0.0
) -> None:
    """So many steps of AdamW in place; vectors (norms, biases) do not decay."""
    matrices = [one for one in weights.values() if one.dim() > 1]
    vectors = [one for one in weights.values() if one.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": tuning.decay}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=tuning.rate)
    for step in range(steps):
        value = loss()
        if not abs(value.item()) < float("inf"):
            raise NotFiniteError(f"the loss is {value.item()} at step {step + 1}; use a lower lr")
        if value.item() <= stop:
            return
        adam.zero_grad()
        value.backward()
        adam.step()
