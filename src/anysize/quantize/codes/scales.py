"""
From weights to codes and back (MatQuant, equations 1 and 3): one scale and one offset per channel or group.

The paper writes w = alpha * (q - z); we keep the offset -alpha * z instead of z, which is the same line and holds a row
whose weights are all equal exactly (scale 0), where z would be infinite.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anysize.core.errors import AnysizeError
from anysize.quantize.codes.scheme import Scheme


@dataclass(frozen=True)
class Grid:
    """The values that codes stand for: ``scale * code + offset``; both (rows, groups), float32."""

    scale: torch.Tensor
    offset: torch.Tensor

    @property
    def zero_point(self) -> torch.Tensor:
        """The paper's z, the code of zero (rows, groups); seldom whole, and NaN where a row is constant."""
        return torch.where(self.scale == 0, torch.nan, -self.offset / self.scale)


@dataclass(frozen=True)
class Clip:
    """Learnable clipping (OmniQuant, Shao et al. 2023): shares of the largest and smallest weight, (rows, groups)."""

    high: torch.Tensor
    low: torch.Tensor


def grouped(weight: torch.Tensor, scheme: Scheme, name: str = "weight") -> torch.Tensor:
    """(rows, features) -> (rows, groups, features per group)."""
    return weight.reshape(weight.shape[0], scheme.groups(weight.shape[1], name), -1)


def fit_grid(weight: torch.Tensor, scheme: Scheme, name: str = "weight", clip: Clip | None = None) -> Grid:
    """
    The min-max grid of a weight (rows, features); `clip` narrows it and passes its gradient.

    Asymmetric: the codes 0 and 2^c - 1 are the smallest and largest weight. Symmetric: 2^(c-1) is zero, and the 2^c - 1
    steps cover twice the largest absolute weight, as in compressed-tensors (at 8 bits that is the largest weight at
    255; at 2 bits, levels of -4/3, -2/3, 0 and 2/3 of it, where a step of the whole would round nearly all to zero).
    Raises `AnysizeError`, naming the weight, if it holds NaN or infinite values.
    """
    parts = grouped(weight.float(), scheme, name)
    low, high = parts.aminmax(dim=2)
    if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
        raise AnysizeError(f"{name} holds NaN or infinite values; a model must be sound before it is quantised")
    levels = 2**scheme.parent_bits - 1
    if scheme.symmetric:
        bound = torch.maximum(high.abs(), low.abs())
        scale = 2 * (bound if clip is None else bound * clip.high) / levels
        offset = -(2.0 ** (scheme.parent_bits - 1)) * scale
    else:
        low_end = low if clip is None else low * clip.low
        high_end = high if clip is None else high * clip.high
        scale, offset = (high_end - low_end) / levels, low_end
    # Where clipping left nothing between the ends, or all weights are equal, the row is its one value at every width.
    constant = (high == low) | (scale <= 0)
    return Grid(torch.where(constant, 0.0, scale), torch.where(constant, (high + low) / 2, offset))


def positions(weight: torch.Tensor, grid: Grid, scheme: Scheme) -> torch.Tensor:
    """Where weights fall on the grid, not rounded and not clamped: w / alpha + z, (rows, groups, features/group)."""
    scale = torch.where(grid.scale == 0, 1.0, grid.scale)
    return (grouped(weight.float(), scheme) - grid.offset[:, :, None]) / scale[:, :, None]


def encode(weight: torch.Tensor, grid: Grid, scheme: Scheme) -> torch.Tensor:
    """The unsigned c-bit codes of a weight, rounded half up: int32 (rows, features)."""
    places = torch.floor(positions(weight, grid, scheme) + 0.5)
    return places.clamp(0, 2**scheme.parent_bits - 1).to(torch.int32).reshape(weight.shape)


def decode(sliced: torch.Tensor, grid: Grid, scheme: Scheme) -> torch.Tensor:
    """Sliced codes (rows, features) to the float32 weights that they stand for."""
    parts = grouped(sliced, scheme).to(grid.scale.dtype)
    return torch.addcmul(grid.offset[:, :, None], grid.scale[:, :, None], parts).reshape(sliced.shape)
