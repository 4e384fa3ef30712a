"""Codes of one width as other engines hold them: integers counted from 0, with a scale and an offset of their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anysize.quantize.scales import Grid
from anysize.quantize.stored import Stored


@dataclass(frozen=True)
class Levels:
    """A weight is ``grid.scale * codes + grid.offset``; codes are int32 (rows, features) below 2^width."""

    codes: torch.Tensor
    width: int
    grid: Grid

    @property
    def zero_point(self) -> torch.Tensor | None:
        """The codes of zero (rows, groups) if all are whole and no wider than the others, else None."""
        grid, middle = self.grid, 2.0 ** (self.width - 1)
        constant = grid.scale == 0
        zero = torch.where(constant, middle, -grid.offset / torch.where(constant, 1.0, grid.scale))
        whole = bool(((zero == zero.round()) & (zero >= 0) & (zero < 2**self.width)).all())
        return zero if whole and not bool((constant & (grid.offset != 0)).any()) else None


def levels(part: Stored, bits: int) -> Levels:
    """
    The slice at `bits` counted in its own steps: 2^(c-r) of the parent's.

    Extra precision has one level more than `bits` hold, so its codes are one bit wider.
    """
    scheme = part.scheme
    shift = scheme.parent_bits - bits
    sliced = part.sliced(bits)
    middle = 1 << (shift - 1) if scheme.mode == "floor_mid" and shift else 0
    grid = Grid(part.scale * 2.0**shift, part.offset + part.scale * middle)
    width = bits + 1 if scheme.mode == "extra" and shift else bits
    return Levels((sliced - middle) >> shift, width, grid)
