"""Codes of one width as other engines hold them: integers counted from 0, with a scale and an offset of their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anysize.core.errors import AnysizeError
from anysize.quantize.codes.scales import Grid
from anysize.quantize.layers.stored import Stored


@dataclass(frozen=True)
class GridCodes:
    """A weight is ``grid.scale * codes + grid.offset``; codes are int32 (rows, features) below 2^width."""

    codes: torch.Tensor
    width: int
    grid: Grid

    @property
    def zero_point(self) -> torch.Tensor | None:
        """The codes of zero (rows, groups) if all are whole and no wider than the others, else None."""
        scale, middle = self.grid.scale, 2.0 ** (self.width - 1)
        zero = torch.where(scale == 0, middle, -self.grid.offset / torch.where(scale == 0, 1.0, scale))
        fits = bool(((zero == zero.round()) & (zero >= 0) & (zero < 2**self.width)).all())
        return zero if fits else None


def levels(part: Stored, bits: int) -> GridCodes:
    """
    The slice at `bits` counted in its own steps: 2^(c-r) of the parent's.

    Extra precision has one level more than `bits` hold, so its codes are one bit wider.
    """
    scheme = part.scheme
    shift = scheme.parent_bits - bits
    sliced = part.sliced(bits)
    middle = 1 << (shift - 1) if scheme.mode == "floor_mid" and shift else 0
    width = bits + 1 if scheme.mode == "extra" and shift else bits
    scale, offset = part.scale * 2.0**shift, part.offset + part.scale * middle
    # A group of one value has scale 0; formats without an offset hold it as the code below the middle, one step off.
    constant, half = scale == 0, 1 << (width - 1)
    scale, offset = torch.where(constant, -offset, scale), torch.where(constant, half * offset, offset)
    same = constant.repeat_interleave(part.features // constant.shape[1], dim=1)  # (rows, features)
    return GridCodes(torch.where(same, half - 1, (sliced - middle) >> shift), width, Grid(scale, offset))


def whole(part: Stored, bits: int, form: str) -> GridCodes:
    """
    `levels` for a format that holds a scale and a whole zero-point.

    Raises `AnysizeError`, saying which option would do, if the layer needs more than that.
    """
    refuse_transformed(part, form)
    found = levels(part, bits)
    if found.zero_point is None:
        raise AnysizeError(
            f"{form} holds whole zero-points, and {part.name} at bits={bits} has fractional ones; fit with "
            "symmetric codes and another slice mode than floor_mid, or cut with --format onnx, which holds any"
        )
    return found


def refuse_transformed(part: Stored, form: str) -> None:
    """Raise `AnysizeError` if a layer scales its inputs, for which only a graph has room."""
    if getattr(part, "column_scale", None) is not None:
        raise AnysizeError(
            f"{form} has no room for the scales that omniquant learnt for the inputs of {part.name}; fit with "
            "--clip-only, or cut with --format onnx or safetensors"
        )
