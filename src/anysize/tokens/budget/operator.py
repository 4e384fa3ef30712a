"""
A token budget: an encoder runs once and gives all its tokens, and a budget keeps fewer of them afterwards.

So every size costs one pass of the encoder together, in training and in measuring, and the number of tokens is known
before anything is encoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

import torch

from anysize.core.errors import SizeError

Shape = tuple[int, ...]
"""How the tokens of an encoder lie: (rows, columns) of a grid, or (count,) of a sequence."""


class TokenBudget(Protocol):
    """What keeps `count` of an encoder's tokens, without weights of its own."""

    name: ClassVar[str]

    def counts(self, shape: Shape) -> tuple[int, ...]:
        """The numbers of tokens that it can keep of tokens that lie so, increasing; the last keeps all."""

    def keep(self, tokens: torch.Tensor, count: int, shape: Shape) -> torch.Tensor:
        """`count` tokens (n, count, width) made of all of them (n, all, width)."""

    def keep_each(self, tokens: torch.Tensor, counts: Iterable[int], shape: Shape) -> dict[int, torch.Tensor]:
        """`keep` for several counts, which may share work."""


class Prefix:
    """The first tokens, of an encoder that orders them by importance (MQT, Hu et al. 2024)."""

    name: ClassVar[str] = "prefix"

    def counts(self, shape: Shape) -> tuple[int, ...]:
        """Every number."""
        return tuple(range(1, shape[0] + 1))

    def keep(self, tokens: torch.Tensor, count: int, shape: Shape) -> torch.Tensor:
        """(n, all, width) -> (n, count, width)."""
        check(self, count, shape)
        return tokens[:, :count]

    def keep_each(self, tokens: torch.Tensor, counts: Iterable[int], shape: Shape) -> dict[int, torch.Tensor]:
        """`keep` for several counts."""
        return {count: self.keep(tokens, count, shape) for count in counts}


def check(budget: TokenBudget, count: int, shape: Shape) -> None:
    """Raise `SizeError`, naming those that there are, unless the budget can keep `count` tokens of so many."""
    there = budget.counts(shape)
    if count in there:
        return
    if len(there) > 1 and there == tuple(range(there[0], there[-1] + 1)):
        words = f"any whole number from {there[0]} to {there[-1]}"
    else:
        words = ", ".join(map(str, there))
    lie = " x ".join(map(str, shape))
    raise SizeError(f"{count} tokens cannot be kept of {lie}; expected {words}")
