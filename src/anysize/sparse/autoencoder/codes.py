"""Sparse codes as a record: for every row, which latents are active and how strongly, in the order of the latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from anysize.sparse.autoencoder.ranks import rank_in_row


@dataclass(frozen=True)
class Codes:
    """
    The codes of n rows over `width` latents, without their zeros (compressed sparse rows).

    Row i's latents are ``indices[offsets[i]:offsets[i + 1]]``, increasing, and `values` stand beside them; so the
    entries of a prefix of the latents come first in every row.
    """

    indices: torch.Tensor
    """(entries,) int64."""
    values: torch.Tensor
    """(entries,) float, all above zero."""
    offsets: torch.Tensor
    """(n + 1,) int64: where each row begins, and at last the number of entries."""
    width: int
    """Number of latents, active or not."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> torch.Tensor:
        """How many latents are active in each row, (n,)."""
        return self.offsets.diff()

    @property
    def l0(self) -> float:
        """Active latents per row, on average."""
        return len(self.indices) / max(1, len(self))

    @property
    def rows(self) -> torch.Tensor:
        """The row of each entry, (entries,)."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.counts)

    @classmethod
    def of_entries(cls, rows: torch.Tensor, indices: torch.Tensor, values: torch.Tensor, n: int, width: int) -> Codes:
        """From entries that are sorted by row and, within each, by latent."""
        offsets = torch.zeros(n + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(torch.bincount(rows, minlength=n), 0, out=offsets[1:])
        return cls(indices, values, offsets, width)

    @classmethod
    def of_dense(cls, dense: torch.Tensor) -> Codes:
        """The positive entries of a dense (n, width) tensor."""
        rows, indices = (dense > 0).nonzero(as_tuple=True)
        return cls.of_entries(rows, indices, dense[rows, indices], *dense.shape)

    @classmethod
    def joined(cls, parts: list[Codes]) -> Codes:
        """The rows of several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        counts = torch.cat([part.counts for part in parts])
        offsets = torch.zeros(len(counts) + 1, dtype=torch.int64, device=counts.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        indices, values = (torch.cat([getattr(part, name) for part in parts]) for name in ("indices", "values"))
        return cls(indices, values, offsets, parts[0].width)

    def dense(self) -> torch.Tensor:
        """With the zeros, (n, width)."""
        full = self.values.new_zeros(len(self), self.width)
        full[self.rows, self.indices] = self.values
        return full

    def to_scipy(self) -> Any:
        """As a ``scipy.sparse.csr_array`` (n, width)."""
        from scipy.sparse import csr_array

        parts = (self.values, self.indices, self.offsets)
        return csr_array(tuple(part.cpu().numpy() for part in parts), shape=(len(self), self.width))

    def take(self, rows: torch.Tensor | slice) -> Codes:
        """Some rows, in the order asked for."""
        device = self.offsets.device
        chosen = torch.arange(len(self), device=device)[rows]
        counts = self.counts[chosen]
        offsets = torch.zeros(len(chosen) + 1, dtype=torch.int64, device=device)
        torch.cumsum(counts, 0, out=offsets[1:])
        within = torch.arange(int(offsets[-1]), device=device) - torch.repeat_interleave(offsets[:-1], counts)
        places = torch.repeat_interleave(self.offsets[chosen], counts) + within
        return Codes(self.indices[places], self.values[places], offsets, self.width)

    def prefix(self, latents: int) -> Codes:
        """The entries of the first `latents` alone."""
        return self._kept(self.indices < latents, latents)

    def strongest(self, active: int) -> Codes:
        """The `active` largest values of every row; of equal ones the earlier latent."""
        return self._kept(rank_in_row(self.rows, self.values, len(self)) < active, self.width)

    def _kept(self, keep: torch.Tensor, width: int) -> Codes:
        return Codes.of_entries(self.rows[keep], self.indices[keep], self.values[keep], len(self), width)
