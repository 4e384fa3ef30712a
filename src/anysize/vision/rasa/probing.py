"""How well patch features say where their patch lies, and how much clusters of them keep to places."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from anysize.core.arguments import shown
from anysize.core.errors import DataError

RIDGE = 1e-3
"""Of a probe: this share of the features' mean variance is added to each."""


class Grid(NamedTuple):
    """Patches of a picture: so many rows and columns."""

    rows: int
    columns: int

    @classmethod
    def of(cls, given: Any, tokens: int | None = None) -> Grid:
        """
        A side, or (rows, columns); of None, the square of so many tokens.

        Raises `DataError` where the tokens are no such grid, as with class or register tokens among them, or it has one
        row or column, which says nothing of a place.
        """
        side = round((tokens or 0) ** 0.5)
        rows, columns = (given, given) if isinstance(given, int) else (side, side) if given is None else given
        if tokens is not None and rows * columns != tokens:
            if given is None:
                raise DataError(f"{tokens} tokens are no square of patches; say their grid, as grid=(rows, columns)")
            raise DataError(
                f"{tokens} tokens are no grid of {rows} x {columns} patches; leave out class and register tokens"
            )
        if min(rows, columns) < 2:
            raise DataError(f"a grid of {rows} x {columns} patches tells no place; expected at least 2 x 2")
        return cls(int(rows), int(columns))

    def places(self) -> torch.Tensor:
        """(rows x columns, 2) from 0 to 1: how far down, how far across."""
        down, across = torch.linspace(0, 1, self.rows), torch.linspace(0, 1, self.columns)
        return torch.stack(torch.meshgrid(down, across, indexing="ij"), -1).reshape(-1, 2)


def as_tokens(given: Any, grid: Any = None) -> tuple[torch.Tensor, Grid]:
    """
    Patch tokens (n, tokens, width) or (n, rows, columns, width), as (n, tokens, width) float32, and their grid.

    Raises `DataError` for another shape, values that are not finite, or tokens that are no such grid.
    """
    try:
        with np.errstate(over="ignore"):
            held = given.detach().cpu() if isinstance(given, torch.Tensor) else torch.from_numpy(_numbers(given))
        held = held.float()
    except (TypeError, ValueError, RuntimeError, OverflowError):  # no numbers, rows of two widths, no values at all
        raise DataError(f"patch tokens are {shown(given)}; expected numbers, (pictures, tokens, width)") from None
    if held.dim() == 4:
        grid = Grid.of(tuple(held.shape[1:3]) if grid is None else grid, held.shape[1] * held.shape[2])
        held = held.flatten(1, 2)
    if held.dim() != 3 or not held.numel():
        raise DataError(f"patch tokens are {shown(given)}; expected (pictures, tokens, width)")
    if not torch.isfinite(held).all():
        raise DataError("the patch tokens hold NaN or infinite values; leave out those pictures")
    return held, Grid.of(grid, held.shape[1])


def _numbers(given: Any) -> np.ndarray:
    """As float32. Raises `TypeError` for what is no number, of which float32 would be made all the same."""
    held = np.asarray(given)
    if held.dtype.kind not in "fiu" or np.ma.is_masked(given):
        raise TypeError
    return np.array(held, np.float32)


class Moments:
    """What a linear probe needs to know of patch features and their places, and nothing else: means and products."""

    def __init__(self, tokens: torch.Tensor, grid: Grid) -> None:
        rows = tokens.double()  # (n, tokens, width)
        places = grid.places().double()
        self.places = places - places.mean(0)
        mean = rows.mean((0, 1))
        rows = rows - mean
        count = rows.shape[0] * rows.shape[1]
        self.mean = mean
        self.products = torch.einsum("ntd,nte->de", rows, rows) / count
        self.cross = torch.einsum("td,tc->dc", rows.mean(0), self.places) / len(places)
        self.spread = self.places.square().mean(0)  # (2,): the variance of a place

    def through(self, matrix: torch.Tensor) -> Moments:
        """Those of features z that became ``matrix @ z``."""
        other = Moments.__new__(Moments)
        other.places, other.spread = self.places, self.spread
        other.mean, other.cross = matrix @ self.mean, matrix @ self.cross
        other.products = matrix @ self.products @ matrix.T
        return other

    def probe(self, ridge: float = RIDGE) -> torch.Tensor:
        """Weights (width, 2) of the ridge regression of places on features; its bias is the mean."""
        load = ridge * self.products.diagonal().mean().clamp_min(1e-30)
        return torch.linalg.solve(self.products + load * torch.eye(len(self.products)).double(), self.cross)

    def r2(self, weights: torch.Tensor, mean: torch.Tensor) -> float:
        """The share of the places' variance that a probe with these weights, centred at `mean`, explains here."""
        shift = (self.mean - mean) @ weights  # (2,)
        explained = 2 * (weights * self.cross).sum(0) - ((weights.T @ self.products) * weights.T).sum(1) - shift**2
        return float((explained / self.spread).mean())


def position_probe_r2(tokens: Any, grid: Any = None, *, ridge: float = RIDGE) -> float:
    """
    How much of (row, column) a fresh ridge probe with a bias reads from patch tokens of pictures it was not fitted on.

    `tokens` is (n, tokens, width) or (n, rows, columns, width), without class and register tokens; `grid` (rows,
    columns), or a side. Every second picture fits the probe, the others are judged: the mean of both coordinates' R2, 1
    at best, about 0 where nothing is known. Raises `DataError` for fewer than two pictures.
    """
    held, shape = as_tokens(tokens, grid)
    if len(held) < 2:
        raise DataError(f"{len(held)} picture is too few for a probe of position; give at least 2, better 100")
    learnt = Moments(held[::2], shape)
    return Moments(held[1::2], shape).r2(learnt.probe(ridge), learnt.mean)


def spatial_entropy(assignments: Any, grid: Any = None) -> float:
    """
    How evenly clusters spread over the cells of the grid: the entropy of each one's places over its largest, averaged.

    `assignments` is (n, tokens) whole numbers, the cluster of each patch. 0: every cluster keeps to one cell; 1: to
    none. The name is in Franca's README, which has no code for it; the definition is ours. Raises `DataError`.
    """
    try:
        held = np.asarray(assignments)
    except (TypeError, ValueError, RuntimeError):  # rows of two widths, a tensor without values
        raise DataError(f"assignments are {shown(assignments)}; expected whole numbers, (pictures, tokens)") from None
    held = held.reshape(len(held), -1) if held.ndim == 3 else held
    if held.ndim != 2 or held.dtype.kind not in "iu" or not held.size or np.ma.is_masked(assignments):
        raise DataError(f"assignments are {shown(assignments)}; expected whole numbers, (pictures, tokens)")
    cells = held.shape[1]
    Grid.of(grid, cells)
    found = []
    for cluster in np.unique(held):
        share = (held == cluster).sum(0)
        share = share[share > 0] / share.sum()
        found.append(float(-(share * np.log(share)).sum() / np.log(cells)))
    return float(np.mean(found))
