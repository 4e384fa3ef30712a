"""
Pooled grids nested in each other (M3, Cai et al., arXiv 2405.17430, section 3.1).

The patches of a picture lie on a grid of H x W; keeping s = HW / p^2 of them pools windows of p x p. A coarser grid is
a function of every finer one that it divides, not a subset of its tokens: pooling 24 x 24 to 12 x 12 and that to 6 x 6
gives what pooling 24 x 24 to 6 x 6 gives. The released code takes p = int(sqrt(HW / s)) for any s, so that 100 silently
becomes 144 tokens; here a count that no p gives is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch

from anysize.core.errors import AnysizeError
from anysize.tokens.budget.operator import Shape, check

Mode = Literal["avg", "spatial", "sequential"]


class GridPool:
    """
    Keeps a coarser grid of tokens: the mean of each window (``avg``), or, as the paper's rivals, its first token
    (``spatial``) or the first tokens in reading order (``sequential``).

    Raises `AnysizeError` for another mode.
    """

    name: ClassVar[str] = "pool"

    def __init__(self, mode: Mode = "avg") -> None:
        if mode not in ("avg", "spatial", "sequential"):
            raise AnysizeError(f"tokens are pooled by avg, spatial or sequential, not by {mode!r}")
        self.mode = mode

    def counts(self, shape: Shape) -> tuple[int, ...]:
        """Those of the grids whose windows are squares that fill (rows, columns)."""
        rows, columns = shape
        common = math.gcd(rows, columns)
        return tuple(rows * columns // p**2 for p in range(common, 0, -1) if common % p == 0)

    def window(self, count: int, shape: Shape) -> int:
        """The side of the windows that leave `count` tokens. Raises `SizeError` if there are none."""
        check(self, count, shape)
        return math.isqrt(math.prod(shape) // count)

    def keep(self, tokens: torch.Tensor, count: int, shape: Shape) -> torch.Tensor:
        """(n, rows * columns, width), in reading order -> (n, count, width), in reading order."""
        side = self.window(count, shape)
        if side == 1:
            return tokens
        if self.mode == "sequential":
            return tokens[:, :count]
        rows, columns = shape
        windows = tokens.unflatten(1, (rows // side, side, columns // side, side))  # n, row, within, column, within, d
        kept = windows.mean((2, 4)) if self.mode == "avg" else windows[:, :, 0, :, 0]
        return kept.flatten(1, 2)

    def keep_each(self, tokens: torch.Tensor, counts: Iterable[int], shape: Shape) -> dict[int, torch.Tensor]:
        """`keep` for several counts, each made of the next finer one that it divides."""
        made: dict[int, torch.Tensor] = {}
        sides: dict[int, int] = {}
        for count in sorted(set(counts), reverse=True):
            side = self.window(count, shape)
            finer = [known for known in made if side % sides[known] == 0]
            if self.mode == "avg" and finer:
                source = min(finer)
                lie = tuple(length // sides[source] for length in shape)
                made[count] = self.keep(made[source], count, lie)
            else:
                made[count] = self.keep(tokens, count, shape)
            sides[count] = side
        return made
