"""
Random views of pictures, many at a time, on the device where they are seen.

What is drawn for a picture depends on the seed, the step and the picture alone, so a run that goes on, or is shared by
several processes, sees the same crops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

_DRAWS = 15
_GREY = (0.299, 0.587, 0.114)
_SIGMA = (0.1 / 224, 2 / 224)
"""Least and largest blur, in sides of the picture."""
FIRST, SECOND, SMALL = (1.0, 0.0), (0.1, 0.2), (0.5, 0.0)
"""Shares of views that are blurred, and solarised: of the two large ones and the small (DINOv2, Franca)."""


def draws(rows: torch.Tensor, views: int, seed: int, step: int) -> torch.Tensor:
    """(views, n, 15) numbers from 0 to 1 for the pictures with these numbers (n,)."""
    found = []
    for row in rows.tolist():
        own = torch.Generator().manual_seed(((seed * 1_000_003 + step) * 1_000_003 + int(row)) % 2**63)
        found.append(torch.rand(views, _DRAWS, generator=own))
    return torch.stack(found, 1)


def crops(
    squares: torch.Tensor,
    drawn: torch.Tensor,
    side: int,
    scale: Sequence[float],
    color: float,
    shares: tuple[float, float] = (0.0, 0.0),
) -> torch.Tensor:
    """
    A crop (n, 3, side, side) from 0 to 1 of each square (n, 3, S, S) uint8, by fifteen numbers for each (n, 15).

    A share of the area from `scale`, sides as 3:4 to 4:3, perhaps mirrored; of other brightness, contrast, saturation
    and hue, perhaps grey, and in these `shares` blurred and solarised. A `color` of 0 leaves all of it as it is.
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
    if not color:
        return found
    found, most = _coloured(found, one[5:12], color), min(1.0, color)
    chosen = one[12] < shares[0] * most
    if bool(chosen.any()):
        sigmas = side * (_SIGMA[0] + (_SIGMA[1] - _SIGMA[0]) * one[13][chosen])
        found[chosen] = blurred(found[chosen], sigmas, math.ceil(2 * side * _SIGMA[1]))
    turned = (one[14] < shares[1] * most).view(-1, 1, 1, 1) & (found > 0.5)
    return torch.where(turned, 1 - found, found)


def _coloured(found: torch.Tensor, one: tuple[torch.Tensor, ...], color: float) -> torch.Tensor:
    changed = (one[0] < 0.8).float()

    def drawn(place: int, most: float) -> torch.Tensor:
        return (changed * color * most * (2 * one[place] - 1)).view(-1, 1, 1, 1)

    found = found * (1 + drawn(1, 0.4))
    mean = found.mean((1, 2, 3), keepdim=True)
    found = mean + (found - mean) * (1 + drawn(2, 0.4))
    grey = (found * found.new_tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    # Hue is a turn around the grey axis: what lies along the axis stays, and what is across it is turned.
    across = found - found.mean(1, keepdim=True)
    crossed = (across.roll(1, 1) - across.roll(-1, 1)) / math.sqrt(3)
    angle = 2 * math.pi * drawn(4, 0.1)
    hued = found - across + across * angle.cos() + crossed * angle.sin()
    share = torch.where(one[5] < 0.2 * min(1.0, color), 0.0, 1.0).view(-1, 1, 1, 1)
    return (grey + (hued - grey) * (1 + drawn(3, 0.2)) * share).clamp(0, 1)


def blurred(pictures: torch.Tensor, sigmas: torch.Tensor, reach: int) -> torch.Tensor:
    """Pictures (n, 3, rows, columns), each under a Gaussian of its own spread (n,), in pixels; edges are mirrored."""
    steps = torch.arange(-reach, reach + 1, device=pictures.device)
    kernels = torch.softmax(-(steps**2) / (2 * sigmas[:, None] ** 2), 1).repeat_interleave(3, 0)  # (3n, taps)
    found = functional.pad(pictures, [reach] * 4, mode="reflect").flatten(0, 1)[None]
    for shape in ((-1, 1, len(steps), 1), (-1, 1, 1, len(steps))):
        found = functional.conv2d(found, kernels.reshape(shape), groups=len(kernels))
    return found.view(pictures.shape)
