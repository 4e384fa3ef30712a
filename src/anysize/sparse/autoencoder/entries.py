"""Which latents of which rows are active in a training step: the skeleton that values and gradients hang on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Entries:
    """The active entries of n rows over `width` latents, sorted by row; within a row in any order."""

    rows: torch.Tensor
    """(entries,) int64, non-decreasing."""
    latents: torch.Tensor
    """(entries,) int64."""
    n: int
    width: int

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def by_latent(self) -> torch.Tensor:
        """The order that sorts the entries by latent."""
        return torch.argsort(self.latents, stable=True)

    @cached_property
    def counts(self) -> torch.Tensor:
        """How many rows each latent is active in, (width,)."""
        return torch.bincount(self.latents, minlength=self.width)

    @cached_property
    def latent_starts(self) -> torch.Tensor:
        """Where each latent begins in `by_latent`, (width,)."""
        return starts(self.counts)

    def kept(self, keep: torch.Tensor) -> Entries:
        """Some of the entries: a mask, or places that increase."""
        return Entries(self.rows[keep], self.latents[keep], self.n, self.width)


def starts(counts: torch.Tensor) -> torch.Tensor:
    """Where each bag begins, given how many each holds."""
    return counts.cumsum(0) - counts
