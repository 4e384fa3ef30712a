"""Measuring patch features by masks: what a linear layer, or the nearest patches, say every patch shows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch.nn import functional

from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.cost import Cost
from anysize.core.sizes.size import Size
from anysize.core.verbs.evaluator import Evaluator, Scores, Task
from anysize.vision.measuring.clustering import logistic, votes
from anysize.vision.splitting import left_out

if TYPE_CHECKING:
    from anysize.core.data.data import Data

POINTS = 4
"""A mask is compared at so many points a side of each patch."""


@runtime_checkable
class SeesPatches(Protocol):
    """Gives a vector for each patch of a picture."""

    size: Size
    flat: Any

    @property
    def origin(self) -> Any:
        """Views of one origin, equally flat, have the same `tokens`."""

    def tokens(self, inputs: Any, *, squeezed: bool = False) -> np.ndarray:
        """What all sizes are cut from, (n, rows, columns, width)."""
        ...

    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """Tokens to unit vectors of this view's size."""
        ...

    def cost(self) -> Cost:
        """What this size costs."""
        ...


@dataclass(frozen=True)
class SegmentationEvaluator(Evaluator):
    """
    Mean IoU over classes of what every patch shows, on a fifth of the pictures, learnt on the others' masks.

    A mask is a picture whose values are class numbers. Scores of patches are scaled up to the mask, smoothly.
    """

    face: ClassVar[type] = SeesPatches
    needs = "a table with the columns image and mask"

    head: Literal["linear", "knn"] = "linear"
    """A linear layer on patch features, or a vote of the nearest patches."""
    ignore: int = 255
    """Points of this class are not judged, nor learnt from."""
    k: int = 20
    """With --head knn: how many patches vote."""
    patches: int = 20000
    """The most patches to learn from, evenly spread over all."""

    def __post_init__(self) -> None:
        if self.head not in ("linear", "knn"):
            raise AnysizeError(f"head is linear or knn; got {self.head!r}")
        if min(self.k, self.patches) < 1:
            raise AnysizeError("k and patches are above zero")

    def accepts(self, data: Data) -> bool:
        """Whether every picture has a mask."""
        return data.table is not None and {"image", "mask"} <= data.table.kinds.keys()

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """The pictures and masks. Raises `DataError` for masks that are no class numbers, or of one class."""
        assert data.table is not None
        on = _Masked(list(data.table["image"]), [mask_of(one) for one in data.table["mask"]], self.ignore)
        said = f"segmentation ({self.head}) of {int(on.asked.sum())} pictures among {len(on.masks)}"
        return Task(f"{said}, {on.classes} classes", "miou", "pictures", on)

    def score(self, view: SeesPatches, task: Task) -> Scores:
        """Over all judged points at once; the share of right points is of each picture."""
        on: _Masked = task.on
        tokens = on.tokens(view)
        rows = torch.from_numpy(view.project(tokens))  # (n, rows, columns, dims)
        grid = (rows.shape[1], rows.shape[2])
        targets, weights = on.targets(grid)
        known = (weights[~on.asked] > 0).flatten()
        bank, says = rows[~on.asked].flatten(0, 2)[known], targets[~on.asked].flatten(0, 2)[known]
        every = max(1, -(-len(bank) // self.patches))
        bank, says, asked = bank[::every], says[::every], rows[on.asked].flatten(0, 2)
        if self.head == "linear":
            found = logistic(bank, says, asked)
        else:
            found = votes(asked, bank, says, k=self.k, temperature=0.07)
        wide = found.unflatten(0, (-1, *grid)).permute(0, 3, 1, 2)
        wide = functional.interpolate(wide, scale_factor=POINTS, mode="bilinear")
        said, masks = wide.argmax(1), on.at(grid)[on.asked]
        judged = masks != on.none
        ious = []
        for name in range(on.classes):
            mine, theirs = (said == name) & judged, masks == name
            if bool(theirs.any()):
                ious.append(float((mine & theirs).sum() / (mine | theirs).sum()))
        right = ((said == masks) & judged).flatten(1).sum(1) / judged.flatten(1).sum(1).clamp_min(1)
        return Scores(
            {"point_accuracy": right.double().numpy()},
            {"miou": float(np.mean(ious))},
            run=partial(view.project, tokens[:1]),
        )


class _Masked:
    def __init__(self, pictures: list[Any], masks: list[np.ndarray], ignore: int) -> None:
        self.pictures, self.masks = pictures, masks
        there = sorted({int(one) for mask in masks for one in np.unique(mask)} - {ignore})
        if len(there) < 2 or len(there) > 1000:
            raise DataError(f"the masks hold {len(there)} classes beside {ignore}; expected class numbers, two or more")
        self.classes, self.none = len(there), len(there)
        table = np.full(1 + max(*there, ignore, 255), self.none, np.int64)
        table[there] = range(self.classes)
        self._numbered = [table[mask] for mask in masks]
        rows = [str(place) for place in range(len(pictures))]
        self.asked = torch.from_numpy(left_out(Items(rows, pictures, "image")))
        self._known: dict[Any, Any] = {}

    def tokens(self, view: SeesPatches) -> np.ndarray:
        """Of all pictures, squeezed into the tower's square, so that masks lie upon them."""
        key = (view.origin, id(view.flat))
        if key not in self._known:
            self._known[key] = view.tokens(self.pictures, squeezed=True)
        found: np.ndarray = self._known[key]
        return found

    def at(self, grid: tuple[int, int]) -> torch.Tensor:
        """(n, rows x POINTS, columns x POINTS): the class at each point, `none` where none is judged."""
        if grid not in self._known:
            found = []
            for mask in self._numbered:
                down, across = (
                    ((np.arange(cells * POINTS) + 0.5) / (cells * POINTS) * length).astype(int)
                    for cells, length in zip(grid, mask.shape, strict=True)
                )
                found.append(mask[np.ix_(down, across)])
            self._known[grid] = torch.from_numpy(np.stack(found))
        points: torch.Tensor = self._known[grid]
        return points

    def targets(self, grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares of classes in each patch (n, rows, columns, classes), and how many points they are of."""
        points = functional.one_hot(self.at(grid), self.classes + 1)[..., : self.classes].float()
        counts = points.unflatten(2, (grid[1], POINTS)).unflatten(1, (grid[0], POINTS)).sum((2, 4))
        weights = counts.sum(-1)
        return counts / weights.clamp_min(1)[..., None], weights


def mask_of(source: Any) -> np.ndarray:
    """Class numbers (rows, columns) of a mask, a grey or palette picture. Raises `DataError` for another."""
    from PIL import Image

    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "a mask"
    try:
        with Image.open(source) as opened:
            opened.load()
            values = np.asarray(opened)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} cannot be read as a mask ({error})") from None
    if values.ndim != 2 or (values.dtype.kind not in "bu" and values.dtype != np.int32):
        raise DataError(f"{name} has shape {values.shape} of {values.dtype}; expected one class number a point")
    return values.astype(np.int64)
