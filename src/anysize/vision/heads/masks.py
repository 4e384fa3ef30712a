"""
Which patches are hidden: an exact number, around a visible block (inverse block masks), rolled around the torus or not.

Without the roll, patches in the middle are visible far more often than those in corners, and features learn where they
lie. CyclicMask (Franca, section 3.2) rolls the block by a random number of rows and columns, so all are alike.
"""

from __future__ import annotations

import itertools
import math

import torch

from anysize.core.errors import AnysizeError


class CyclicMaskGenerator:
    """
    Masks (rows, columns) for a grid, true where hidden: ``generator(n_masked)``, in which exactly so many are.

    `roll=False` leaves the visible block where it fell. Where it has more cells than are to be visible, its last
    ones in reading order are hidden too.
    """

    def __init__(self, grid_size: int | tuple[int, int], min_aspect: float = 0.3, *, roll: bool = True) -> None:
        self.rows, self.columns = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
        if min(self.rows, self.columns) < 1 or not 0 < min_aspect <= 1:
            raise AnysizeError(f"a grid of {self.rows} x {self.columns} with aspect {min_aspect} has no masks")
        self.min_aspect, self.roll = min_aspect, roll

    def __call__(self, n_masked: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """One mask. Raises `AnysizeError` for more than there are."""
        rows, columns = self.rows, self.columns
        visible = rows * columns - n_masked
        if not 0 <= n_masked <= rows * columns:
            raise AnysizeError(f"{n_masked} of {rows} x {columns} patches cannot be masked")
        mask = torch.ones(rows, columns, dtype=torch.bool)
        if not visible:
            return mask
        low = max(self.min_aspect, visible / columns**2)
        high = max(low, min(1 / self.min_aspect, rows**2 / visible))
        aspect = math.exp(_uniform(math.log(low), math.log(high), generator))
        # The width follows from the height, so that the block holds enough cells whatever was rounded or cut.
        high_cells = min(rows, max(math.ceil(visible / columns), math.ceil(math.sqrt(visible * aspect) - 1e-9)))
        wide_cells = min(columns, math.ceil(visible / high_cells))
        top, left = _whole(rows - high_cells + 1, generator), _whole(columns - wide_cells + 1, generator)
        block = torch.arange(high_cells * wide_cells)[:visible]
        mask[top + block // wide_cells, left + block % wide_cells] = False
        if self.roll:
            mask = mask.roll((_whole(rows, generator), _whole(columns, generator)), (0, 1))
        return mask


def drawn_masks(
    maker: CyclicMaskGenerator,
    count: int,
    mask_ratio: tuple[float, float] = (0.1, 0.65),
    mask_prob: float = 0.5,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """
    Masks (count, patches) of a batch: a share `mask_prob` of its pictures, at ratios drawn one from each even stratum.

    Which pictures have one is drawn too; the others have none. Raises `AnysizeError` for ratios outside 0 to 1.
    """
    low, high = mask_ratio
    if not 0 <= low <= high <= 1 or not 0 <= mask_prob <= 1:
        raise AnysizeError(f"ratios are from 0 to 1, the lower first; got {mask_ratio} and {mask_prob}")
    patches, masked = maker.rows * maker.columns, round(count * mask_prob)
    edges = torch.linspace(low, high, masked + 1).tolist()
    wanted = [int(patches * _uniform(one, other, generator)) for one, other in itertools.pairwise(edges)]
    found = torch.zeros(count, patches, dtype=torch.bool)
    for place, number in zip(torch.randperm(count, generator=generator).tolist(), wanted, strict=False):
        found[place] = maker(number, generator).flatten()
    return found


def _uniform(low: float, high: float, generator: torch.Generator | None) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _whole(below: int, generator: torch.Generator | None) -> int:
    return int(torch.randint(below, (), generator=generator))
