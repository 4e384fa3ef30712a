"""Where a budget's tokens come from: windows of a grid, the patches that are kept, or those that queries look at."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from anysize.tokens.budget.grid import GridPool
from anysize.tokens.budget.queries import MatryoshkaQueryTransformer
from anysize.tokens.vlm.model import NestedVLM

SAYS = {
    "avg": "A token is the mean of what one cell of the grid shows.",
    "spatial": "A token is one patch of the picture; those that are left out are covered.",
    "sequential": "A token is one patch of the picture; those that are left out are covered.",
    "queries": "The less the queries of a budget look at a patch, on average, the more it is covered.",
}
"""What a drawing means, by the mode of a pool."""


class Seen(NamedTuple):
    """A grid over a picture, and how much of each of its cells is looked at."""

    rows: int
    columns: int
    shares: list[float]
    """(rows * columns), in reading order, the largest 1."""


@torch.no_grad()
def seen(view: NestedVLM, shown: Any) -> Seen:
    """What the tokens of a view's size are made of, of a picture that Pillow has opened."""
    count = int(view.size.tokens)
    if isinstance(view.vlm.projector, MatryoshkaQueryTransformer):
        looks = view.vlm.projector.looks(_patches(view, shown), count)[0]
        rows, columns = view.vlm.projector.shape
        return Seen(rows, columns, (looks / looks.max()).tolist())
    assert isinstance(view.budget, GridPool)
    rows, columns = view.vlm.shape
    side = view.budget.window(count, (rows, columns))
    if view.budget.mode == "avg":
        return Seen(rows // side, columns // side, [1.0] * count)
    places = torch.arange(rows * columns, dtype=torch.float32)[None, :, None]
    kept = set(view.budget.keep(places, count, (rows, columns)).flatten().long().tolist())
    return Seen(rows, columns, [float(place in kept) for place in range(rows * columns)])


def _patches(view: NestedVLM, shown: Any) -> torch.Tensor:
    """What the projector is given of one picture, (1, patches, width)."""
    found: list[torch.Tensor] = []
    hook = view.vlm.projector.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    try:
        view.vlm.encode(view.vlm.pixels([shown]))
    finally:
        hook.remove()
    return found[0]
