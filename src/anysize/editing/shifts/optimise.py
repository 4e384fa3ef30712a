"""
Stage 1 of muKE: one shift for each window, found by Adam while those before it stay as they are.

A shift is added to the state at the token before its window. States at or below the edited block do not depend on it,
and attention keeps of the tokens before it what it kept: so a step runs the blocks above, from that token on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError
from anysize.editing.requests.prompting import Encoded
from anysize.editing.shifts.suffix import Suffix, frozen
from anysize.editing.shifts.weights import token_weights, window_weights


class NotFiniteError(AnysizeError):
    """A loss that is no finite number: the edit is skipped whole."""


@dataclass(frozen=True)
class Goal:
    """What a shift is fitted to, and for how long."""

    coefficients: str = "uniform"
    order: str = "code"
    steps: int = 25
    """Looks at the loss; after the last no step is taken, so it is one step fewer."""
    rate: float = 0.5
    decay: float = 1e-3
    """Times the norm of the shift over the squared norm of the state."""
    clamp: float = 4.0
    """The norm of a shift is at most so many norms of the state."""
    stop: float = 1e-2
    """The loss at which a shift is good enough."""


@dataclass
class Found:
    """The shifts of one edit, and what they do while they are merely injected."""

    places: list[int]
    """Where in the whole sequence each shift stands."""
    bounds: list[int]
    """Windows lie between these tokens of the target."""
    shifts: torch.Tensor
    """(windows, d)"""
    states: torch.Tensor
    """(windows, d): the states that are shifted."""
    nll: list[list[float]]
    """Row j: the mean loss in nats per token of each window while the first j shifts are injected."""
    steps: list[int]
    affinities: list[list[float]] = field(default_factory=list)


@dataclass
class Windowed:
    """One sequence under edit: its ids, states and windows."""

    suffix: Suffix
    encoded: Encoded
    states: torch.Tensor
    bounds: Sequence[int]

    @property
    def count(self) -> int:
        """Windows."""
        return len(self.bounds) - 1

    def place(self, i: int) -> int:
        """Where shift i stands: at the token before its window."""
        return self.encoded.start - 1 + self.bounds[i]

    def losses(self, i: int, tokens: int, kept: Any, shift: torch.Tensor) -> torch.Tensor:
        """Of so many tokens from window i on, with `shift` at its place and `kept` before it, (tokens,)."""
        place, first = self.place(i), self.encoded.start + self.bounds[i]
        states = self.states[:, place : place + tokens]
        moved = torch.cat([(states[:, :1].float() + shift).to(states), states[:, 1:]], dim=1)
        logits = self.suffix.logits(self.encoded.ids[place : place + tokens], moved, kept)
        labels = torch.tensor(self.encoded.ids[first : first + tokens], device=logits.device)
        return functional.cross_entropy(logits, labels, reduction="none")

    def prefix(self, i: int, shifts: Sequence[torch.Tensor]) -> Any:
        """What attention keeps of the tokens before the place of shift i, with earlier shifts injected."""
        return self.suffix.prefix(
            self.encoded.ids[: self.place(i)], {self.place(j): shift for j, shift in enumerate(shifts[:i])}
        )


def fit_shifts(
    suffix: Suffix,
    encoded: Encoded,
    bounds: Sequence[int],
    goal: Goal,
    *,
    states: torch.Tensor | None = None,
    most: int | None = None,
    told: Callable[[int], None] = lambda window: None,
) -> Found:
    """
    The shifts of one edit, window by window; of the first `most` windows alone, if given.

    `states` are what `suffix.states` gives of all tokens but the last.

    Raises `NotFiniteError`, naming window and step, where the loss is no finite number.
    """
    with frozen(suffix.lm):
        given = suffix.states(encoded.ids[:-1])[0] if states is None else states
        one = Windowed(suffix, encoded, given, bounds)
        affine = goal.coefficients == "affinity"
        affinities = [affinity(one, i, goal) for i in range(one.count)] if affine else [[] for _ in range(one.count)]
        shifts: list[torch.Tensor] = []
        nll = [_by_window(one, 0, one.prefix(0, []), torch.zeros_like(given[0, 0].float()))]
        steps = []
        for i in range(one.count)[:most]:
            weights = window_weights(one.count, i, goal.coefficients, affinities[i], goal.order)
            kept = one.prefix(i, shifts)
            found, taken = _fit(one, i, token_weights(bounds, i, weights), kept, goal)
            nll.append([*nll[-1][:i], *_by_window(one, i, kept, found)])  # no shift acts on the windows before it
            shifts.append(found)
            steps.append(taken)
            told(i)
        places = [one.place(i) for i in range(len(shifts))]
        held = one.states[0, places]
    return Found(places, list(bounds), torch.stack(shifts), held, nll, steps, affinities if affine else [])


def _fit(one: Windowed, i: int, weights: Sequence[float], kept: Any, goal: Goal) -> tuple[torch.Tensor, int]:
    """One shift (d,), and after how many looks it was found."""
    tokens = max(place for place, weight in enumerate(weights) if weight) + 1
    each = torch.tensor(weights[:tokens], device=one.states.device)
    state = one.states[0, one.place(i)].float()
    shift = torch.zeros_like(state, requires_grad=True)
    adam = torch.optim.Adam([shift], lr=goal.rate)
    for step in range(goal.steps):
        loss = _loss(one, i, each, kept, shift, state, goal.decay)
        _check_finite(loss.item(), one, i, step)
        if loss.item() < goal.stop or step == goal.steps - 1:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            most = goal.clamp * state.norm()
            if shift.norm() > most:
                shift.mul_(most / shift.norm())
    return shift.detach(), step + 1


def _loss(
    one: Windowed, i: int, weights: torch.Tensor, kept: Any, shift: torch.Tensor, state: torch.Tensor, decay: float
) -> torch.Tensor:
    """The weighted losses over all tokens that count, not over the sum of the weights, and the weight decay."""
    losses = one.losses(i, len(weights), kept, shift)
    return (weights * losses).sum() / len(weights) + decay * shift.norm() / state.norm() ** 2


AFFINITY_STEPS = 3


def affinity(one: Windowed, i: int, goal: Goal) -> list[float]:
    """
    How alike the gradients are of window i and of the targets that end with windows i, i+1, ..., the first being 1.

    The mean cosine over three steps on the own window, from no shift on and with no earlier shifts injected.
    """
    if i == one.count - 1:
        return [1.0]
    kept, total = one.prefix(i, []), one.bounds[-1] - one.bounds[i]
    state = one.states[0, one.place(i)].float()
    shift = torch.zeros_like(state, requires_grad=True)
    adam = torch.optim.Adam([shift], lr=goal.rate)
    cosines = []
    for step in range(AFFINITY_STEPS):
        losses = one.losses(i, total, kept, shift)
        decay = goal.decay * shift.norm() / state.norm() ** 2
        ends = [one.bounds[j + 1] - one.bounds[i] for j in range(i, one.count)]
        means = [losses[:end].mean() + decay for end in ends]
        _check_finite(means[-1].item(), one, i, step)
        gradients = [torch.autograd.grad(mean, shift, retain_graph=True)[0] for mean in means]
        cosines.append([functional.cosine_similarity(gradients[0], other, dim=0) for other in gradients])
        shift.grad = gradients[0]
        adam.step()
    return [1.0, *(float(sum(found) / len(found)) for found in list(zip(*cosines, strict=True))[1:])]


@torch.no_grad()
def _by_window(one: Windowed, i: int, kept: Any, shift: torch.Tensor) -> list[float]:
    """The mean loss of window i and of each after it, with `shift` injected before window i."""
    start = one.bounds[i]
    losses = one.losses(i, one.bounds[-1] - start, kept, shift)
    return [float(losses[one.bounds[j] - start : one.bounds[j + 1] - start].mean()) for j in range(i, one.count)]


def _check_finite(loss: float, one: Windowed, i: int, step: int) -> None:
    if not abs(loss) < float("inf"):
        raise NotFiniteError(
            f"the loss of window {i + 1} of {one.count} is {loss} at step {step + 1}, so this edit is left out; the "
            "model's weights may hold values that are not finite, or v-lr is too high"
        )
