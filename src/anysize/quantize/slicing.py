"""
Slicing: the r most significant bits of a c-bit code (MatQuant, Nair et al. 2025, arXiv 2502.06786, equations 6 and 8).

A slice stays on the c-bit grid, so one scale and one offset serve every width. Rounding is half up, as the paper's
appendix A defines it bit by bit; `torch.round`, which rounds halves to even, gives other codes (32 and 160 at r=2).
"""

from __future__ import annotations

import itertools
from typing import Any, Literal, get_args

import numpy as np
import torch

from anysize.core.arguments import takes, whole
from anysize.core.errors import AnysizeError, SizeError

Mode = Literal["round_clamp", "extra", "floor_mid"]
MODES: tuple[str, ...] = get_args(Mode)


@takes(r=whole(0), c=whole(0))
def slice_bits(codes: Any, r: int, c: int = 8, mode: str = "round_clamp") -> Any:
    """
    What is left of unsigned `c`-bit codes at `r` bits, as int32 on the `c`-bit grid; torch in, torch out, numpy alike.

    ``round_clamp`` (equation 6): round half up to a multiple of 2^(c-r), clamp to the largest of 2^r levels.
    ``extra`` (equation 8, extra precision): the same without the clamp, so 2^r + 1 levels.
    ``floor_mid`` (ours): keep the r bits and take the middle of what they leave open. The only mode that nests
    exactly: the 2-bit slice of a 4-bit slice is the 2-bit slice. In all modes r = c changes nothing.

    Raises `SizeError` unless 1 <= r <= c, `AnysizeError` for another mode.
    """
    check_mode(mode)
    check_width(r, c)
    q = codes.astype(np.int32) if isinstance(codes, np.ndarray) else codes.to(torch.int32)
    if r == c:
        return q
    shift = c - r
    if mode == "floor_mid":
        return ((q >> shift) << shift) + (1 << (shift - 1))
    rounded = (q + (1 << (shift - 1))) >> shift
    if mode == "round_clamp":
        rounded = rounded.clip(max=2**r - 1) if isinstance(rounded, np.ndarray) else rounded.clamp(max=2**r - 1)
    return rounded << shift


def planes_needed(r: int, c: int, mode: str) -> int:
    """How many of a code's most significant bits decide its slice: rounding looks at one bit more than it keeps."""
    check_width(r, c)
    return r if r == c or mode == "floor_mid" else r + 1


def check_mode(mode: object) -> None:
    """Raise `AnysizeError` unless `mode` is a slice mode."""
    if mode not in MODES:
        raise AnysizeError(f"{mode!r} is not a slice mode; expected one of {', '.join(MODES)}")


def check_width(r: int, c: int) -> None:
    """Raise `SizeError` unless a `c`-bit code has an `r`-bit slice."""
    if not 1 <= r <= c:
        raise SizeError(f"bits={r} is no slice of a {c}-bit code; expected 1 to {c}")


def check_bits(bits: tuple[int, ...], parent: int) -> None:
    """Raise `SizeError` unless widths descend strictly and none exceeds the parent's."""
    if not bits:
        raise SizeError("no width is named; give bits such as 8,4,2")
    for width in bits:
        check_width(width, parent)
    for before, after in itertools.pairwise(bits):
        if after >= before:
            raise SizeError(f"widths descend from the parent's, as 8,4,2; got {after} after {before}")
