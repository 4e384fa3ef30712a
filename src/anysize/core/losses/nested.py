"""
The nested objective: one wrapper around any loss (MRL, Kusupati et al. 2022, equation 1, on any axis).

Encode once, hand each size's output to the base loss, sum with weights; optionally pull the smaller sizes towards
the largest one, whose output is detached. Nothing here replaces a model's ``forward``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


@dataclass(frozen=True)
class All:
    """Every size at every step."""

    def pick(self, nesting: Nesting, step: int, seed: int = 0) -> tuple[Size, ...]:
        """All sizes."""
        return tuple(nesting)


@dataclass(frozen=True)
class Random:
    """`n` sizes drawn without replacement at each step. Raises `SizeError` if `n` is 0 or there are not so many."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise SizeError(f"Random draws {self.n} sizes; give at least 1")

    def pick(self, nesting: Nesting, step: int, seed: int = 0) -> tuple[Size, ...]:
        """`n` of the sizes."""
        return _draw(tuple(nesting), self.n, step, seed)


@dataclass(frozen=True)
class Sandwich:
    """The smallest, the largest and `n` others at each step (Yu and Huang 2019, universally slimmable networks)."""

    n: int = 2

    def pick(self, nesting: Nesting, step: int, seed: int = 0) -> tuple[Size, ...]:
        """The two ends and `n` sizes between them."""
        if len(nesting) == 1:
            return tuple(nesting)
        return (nesting[0], *_draw(tuple(nesting)[1:-1], self.n, step, seed), nesting.full)


def _draw(sizes: tuple[Size, ...], n: int, step: int, seed: int) -> tuple[Size, ...]:
    if not 0 <= n <= len(sizes):
        raise SizeError(f"cannot draw {n} of {len(sizes)} sizes; give a number up to {len(sizes)}")
    chosen = random.Random(f"{seed}:{step}").sample(range(len(sizes)), n)
    return tuple(sizes[index] for index in sorted(chosen))


@dataclass(frozen=True)
class Distill:
    """
    Pull each smaller size's output towards the largest size's, which is detached and gets no gradient.

    `output_at(size)` gives what is compared (logits, similarities); `divergence(student, teacher)` a scalar.
    """

    output_at: Callable[[Size], torch.Tensor]
    divergence: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    weight: float = 1.0


@dataclass(frozen=True)
class NestedTerms:
    """The total, and every size's own share of it before weighting: ``terms[size]`` reads one."""

    total: torch.Tensor
    terms: dict[Size, torch.Tensor]
    distilled: dict[Size, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, size: Size) -> torch.Tensor:
        return self.terms[size]


def nested_loss(
    nesting: Nesting,
    loss_at: Callable[[Size], torch.Tensor],
    *,
    sizes: Sequence[Size] | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    distill: Distill | None = None,
) -> NestedTerms:
    """
    Sum a loss over the sizes of a nesting, each with its weight.

    `loss_at(size)` is called once per size, on outputs that the caller computed once. `sizes` restricts the step to
    some of them (see the schedules). ``reduction="sum"`` is the paper's; ``"mean"`` divides by the weights used, so
    that the learning rate and clipping of a single loss still fit.

    Raises `SizeError` if a size is not in the nesting or comes twice, or all weights used are zero; `AnysizeError`
    if a loss is not one number.
    """
    if reduction not in ("sum", "mean"):
        raise AnysizeError(f"reduction {reduction!r} is not one of 'sum', 'mean'")
    used = tuple(nesting) if sizes is None else tuple(nesting.resolve(size) for size in sizes)
    if len(set(used)) < len(used):
        raise SizeError(f"a step uses a size once; got {'; '.join(map(str, used))}")
    weights = dict(zip(nesting, nesting.weights, strict=True))
    whole = sum(weights[size] for size in used)
    if whole <= 0:
        raise SizeError("the sizes of this step have no weight; give at least one of them a weight above 0")
    terms = {size: _scalar(loss_at(size), size) for size in used}
    total = torch.stack([weights[size] * term for size, term in terms.items()]).sum()
    distilled: dict[Size, torch.Tensor] = {}
    if distill is not None:
        teacher = distill.output_at(nesting.full).detach()
        students = [size for size in used if size != nesting.full]
        distilled = {size: _scalar(distill.divergence(distill.output_at(size), teacher), size) for size in students}
        total = total + distill.weight * sum(weights[size] * term for size, term in distilled.items())
    return NestedTerms(total / whole if reduction == "mean" else total, terms, distilled)


def told(module: torch.nn.Module, terms: Mapping[Any, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """``terms``, each size's own loss without its gradient, which a module gives where it is only looked at."""
    return {} if module.training else {"terms": {str(size): term.detach() for size, term in terms.items()}}


def _scalar(loss: torch.Tensor, size: Size) -> torch.Tensor:
    if loss.ndim:
        raise AnysizeError(f"the loss at {size} has shape {tuple(loss.shape)}; return one number, such as its mean")
    return loss
