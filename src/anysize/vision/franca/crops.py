"""
Random views of pictures, many at a time, on the device where they are seen.

What is drawn for a picture depends on the seed, the step and the picture alone, so a run that goes on, or is shared by
several processes, sees the same crops. There is no blur, which the paper has: pictures here are small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

_DRAWS = 12
_GREY = (0.299, 0.587, 0.114)


def draws(rows: torch.Tensor, views: int, seed: int, step: int) -> torch.Tensor:
    """(views, n, 12) numbers from 0 to 1 for the pictures with these numbers (n,)."""
    found = []
    for row in rows.tolist():
        own = torch.Generator().manual_seed(((seed * 1_000_003 + step) * 1_000_003 + int(row)) % 2**63)
        found.append(torch.rand(views, _DRAWS, generator=own))
    return torch.stack(found, 1)


def crops(squares: torch.Tensor, drawn: torch.Tensor, side: int, scale: Sequence[float], color: float) -> torch.Tensor:
    """
    A crop (n, 3, side, side) from 0 to 1 of each square (n, 3, S, S) uint8, by twelve numbers for each (n, 12).

    A share of the area from `scale`, sides as 3:4 to 4:3, perhaps mirrored, brighter, greyer, solarised.
    """
    one = drawn.to(squares.device).unbind(1)
    area = scale[0] + (scale[1] - scale[0]) * one[0]
    aspect = torch.exp((2 * one[1] - 1) * math.log(4 / 3))
    wide, high = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    across, down = (1 - wide) * (2 * one[2] - 1), (1 - high) * (2 * one[3] - 1)
    zero = torch.zeros_like(wide)
    mirrored = torch.where(one[4] < 0.5, -wide, wide)
    rows = torch.stack([mirrored, zero, across, zero, high, down], 1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, [len(squares), 3, side, side], align_corners=False)
    found = functional.grid_sample(squares.float() / 255, grid, padding_mode="reflection", align_corners=False)
    return _coloured(found, one[5:], color) if color else found


def _coloured(found: torch.Tensor, one: tuple[torch.Tensor, ...], color: float) -> torch.Tensor:
    changed = (one[0] < 0.8).float()

    def by(place: int, most: float) -> torch.Tensor:
        return (1 + changed * color * most * (2 * one[place] - 1)).view(-1, 1, 1, 1)

    luma = found.new_tensor(_GREY).view(1, 3, 1, 1)
    found = found * by(1, 0.4)
    mean = found.mean((1, 2, 3), keepdim=True)
    found = mean + (found - mean) * by(2, 0.4)
    grey = (found * luma).sum(1, keepdim=True)
    share = torch.where(one[4] < 0.2 * min(1.0, color), 0.0, 1.0).view(-1, 1, 1, 1)
    found = (grey + (found - grey) * by(3, 0.2) * share).clamp(0, 1)
    turned = (one[5] < 0.1 * min(1.0, color)).view(-1, 1, 1, 1) & (found > 0.5)
    return torch.where(turned, 1 - found, found)
