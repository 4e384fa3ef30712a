"""The reconstruction loss of one step over all sizes of a nesting, whichever axes it has."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anysize.sparse.autoencoder.ranks import rank_in_row, strongest_first
from anysize.sparse.learning.kernels import Errors, StepSizes, level_errors
from anysize.sparse.learning.recipe import Recipe
from anysize.sparse.learning.selecting import Selected


@dataclass(frozen=True)
class LevelsLoss:
    """The weighted loss of all sizes, and what the largest size leaves over."""

    loss: torch.Tensor
    left: torch.Tensor
    """(n, d) ``x - reconstruction`` at the largest size, without gradient."""


def loss_of_levels(
    recipe: Recipe,
    selected: Selected,
    x: torch.Tensor,
    W_dec: torch.Tensor,
    b_dec: torch.Tensor,
    step: int,
    times: float = 1.0,
) -> LevelsLoss:
    """
    The loss of `selected` (whose values are tied to the encoder) against the rows `x` (n, d).

    Every level of active latents counts `times` as many.
    """
    row_weights = 1 / x.square().mean(1).clamp_min(1e-6) if recipe.error == "nmse" else None
    nesting = recipe.nesting

    def errors(part: Selected, places: torch.Tensor, stops: tuple[int, ...]) -> Errors:
        levels = StepSizes.of(part.entries, places, stops)
        return level_errors(part.values, part.entries, levels, x, W_dec, b_dec, row_weights, detach=recipe.detach)

    rows, values, n = selected.entries.rows, selected.values, len(x)
    if "active" not in nesting.axes:
        stops, weights = _prefixes(recipe, step)
        found = errors(selected, selected.entries.latents, stops)
        losses = found.losses
    elif "latents" not in nesting.axes:
        order, rank = strongest_first(rows, values.detach(), n)
        found, weights = errors(selected.kept(order), rank, recipe.levels_now(times)), nesting.weights
        losses = found.losses
    else:
        # All sizes share one selection, that of the largest: a size holds a prefix of the entries up to a rank.
        rank, latents = rank_in_row(rows, values.detach(), n), nesting.values("latents")
        by_active = {}
        for active, now in zip(nesting.values("active"), recipe.levels_now(times), strict=True):
            part = selected.kept((rank < now).nonzero().squeeze(1))
            found = errors(part, part.entries.latents, latents)
            by_active[active] = dict(zip(latents, found.losses, strict=True))
        losses = torch.stack([by_active[size["active"]][size["latents"]] for size in nesting])
        weights = nesting.weights
    total = losses @ losses.new_tensor(weights)
    count = sum(weights)
    if recipe.bias_level:
        squares = (x - b_dec).square()
        total, count = total + (squares if row_weights is None else squares * row_weights[:, None]).mean(), count + 1
    return LevelsLoss(total / count if recipe.reduction == "mean" else total, -found.last)


def _prefixes(recipe: Recipe, step: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The prefixes of this step and their weights; without nesting in latents, the whole dictionary."""
    if "latents" not in recipe.nesting.axes:
        return (recipe.latents,), (1.0,)
    if not recipe.sampled:
        pairs = zip(recipe.nesting.values("latents"), recipe.nesting.weights, strict=True)
        kept = [(stop, weight) for stop, weight in pairs if weight or stop == recipe.latents]  # others train nothing
        return tuple(stop for stop, _ in kept), tuple(weight for _, weight in kept)
    # Lengths l with P(length <= l) = sqrt(l / F), as Nabeshima's pareto power 0.5 has it; the whole is always there.
    random = torch.Generator("cpu").manual_seed(recipe.seed * 1_000_003 + step)
    draw = torch.rand(recipe.sampled, generator=random, device="cpu")
    lengths = (draw.double().square() * recipe.latents).ceil().long().clamp(1, recipe.latents)
    stops = tuple(sorted({*lengths.tolist(), recipe.latents}))
    return stops, (1.0,) * len(stops)
