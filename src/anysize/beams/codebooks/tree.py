"""
A tree of beams, as hierarchical codebooks have it: a user reports a coarse beam, then the best of its children.

Grown from channels as tree-structured vector quantisation grows (Buzo et al. 1980): a coarse beam is the best one for
the links that choose it, and its children are learnt from those links alone. A sweep takes fewer slots than all leaves,
but a link that a coarse beam misleads never sees its best leaf.
"""

from __future__ import annotations

import math
from typing import Self

import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.codebooks.dft import dft
from anysize.beams.codebooks.gains import gains
from anysize.beams.codebooks.greedy import greedy
from anysize.beams.codebooks.reports import Swept, index_bits
from anysize.core.errors import SizeError
from anysize.core.model.cost import Cost
from anysize.core.sizes.size import Size


class TreeCodebook:
    """Two levels: `coarse` (c, elements), and for each of them `fine` (c, f, elements), all of unit norm."""

    def __init__(self, coarse: torch.Tensor, fine: torch.Tensor) -> None:
        self.coarse, self.fine = coarse, fine
        self.size = Size(beams=fine.shape[0] * fine.shape[1])

    @classmethod
    def grown(cls, channels: Channels, levels: tuple[int, int], rounds: int = 10) -> Self:
        """A tree with `levels` (8, 64): 8 coarse beams and 64 leaves. Raises `SizeError` if the one does not divide."""
        coarse, leaves = levels
        if coarse < 1 or leaves < coarse or leaves % coarse:
            raise SizeError(f"a tree of {leaves} beams cannot begin with {coarse}; the leaves are a multiple of those")
        with torch.no_grad():
            top = settled(channels, coarse, rounds)
            nearest = gains(channels.rows, top).argmax(1)
            below = []
            for place in range(coarse):
                own = (nearest == place).numpy()
                below.append(settled(channels[own] if own.sum() > 1 else channels, leaves // coarse, rounds))
        return cls(top, torch.stack(below))

    @property
    def slots(self) -> int:
        """Beams that a user sees sent: the coarse ones, and the children of one; no second level if it adds none."""
        children = self.fine.shape[1]
        return len(self.coarse) + (children if children > 1 else 0)

    def sweep(self, channels: Channels) -> Swept:
        """What each link reports in the end: a leaf, and its gain."""
        rows = channels.rows
        with torch.no_grad():
            parent = gains(rows, self.coarse).argmax(1)
            every = gains(rows, self.fine.flatten(0, 1)).unflatten(1, self.fine.shape[:2])
        own = every[torch.arange(len(rows)), parent]  # (links, f)
        gain, child = own.max(1)
        index = parent * self.fine.shape[1] + child
        return Swept(index, gain, self.fine.flatten(0, 1), index_bits(self.size["beams"]), self.slots)

    def cost(self) -> Cost:
        """As a flat book counts it, with the beams of both levels."""
        elements = self.coarse.shape[1]
        beams = self.coarse.shape[0] + self.size["beams"]
        bits = index_bits(self.size["beams"])
        return Cost(bytes=math.ceil(bits / 8), parameters=2 * beams * elements, flops=8 * self.slots * elements)


def settled(channels: Channels, beams: int, rounds: int) -> torch.Tensor:
    """Beams of a generalised Lloyd iteration, (beams, elements): each is the best one for the links that choose it."""
    pool = dft(channels.panel, 2)
    found = pool[greedy(channels.rows, pool, beams)]
    for _ in range(rounds):
        nearest = gains(channels.rows, found).argmax(1)
        for place in range(beams):
            own = channels.rows[nearest == place]
            if len(own):
                found[place] = principal(own / channels.bound[nearest == place, None, None, None].sqrt())
    return found


def principal(rows: torch.Tensor) -> torch.Tensor:
    """The beam with the largest mean gain over links (n, m, 2, elements): of their mean covariance, (elements,)."""
    flat = torch.complex(rows[:, :, 0], rows[:, :, 1]).flatten(0, 1)  # (n m, elements)
    return torch.linalg.eigh(flat.mH @ flat)[1][:, -1]
