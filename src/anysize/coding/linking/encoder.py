"""
A vector for a mention or a name, of which every prefix is one too: a bag of hashed character n-grams, a linear head
over any sentence encoder, or the sum of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anysize.coding.linking.ngrams import Ngrams

BUCKETS = 16384


class MentionEncoder(torch.nn.Module):
    """
    Vectors (n, dims) of `rows`: bags (n, buckets) through a table, and features (n, width) through a head.

    `width` is None without a sentence encoder; `ngrams` is False where the head stands alone.
    """

    def __init__(self, dims: int, width: int | None = None, *, ngrams: bool = True, buckets: int = BUCKETS) -> None:
        super().__init__()
        self.dims, self.width, self.ngrams, self.buckets = dims, width, ngrams, buckets
        self.table = torch.nn.Parameter(torch.zeros(buckets if ngrams else 0, dims))
        self.head = torch.nn.Parameter(torch.zeros(dims, width or 0))
        self.register_buffer("idf", torch.ones(buckets if ngrams else 0))
        self.register_buffer("mean", torch.zeros(width or 0))

    idf: torch.Tensor
    mean: torch.Tensor

    def bags(self, texts: Sequence[str]) -> Any:
        """What the table reads of texts, a CSR matrix (n, buckets); None without one."""
        return Ngrams(3, 4, self.buckets, self.idf.numpy()).rows(texts) if self.ngrams else None

    def forward(self, bags: Any, features: np.ndarray | None, dims: int | None = None) -> torch.Tensor:
        """The first `dims` coordinates (all) of each row, (n, dims); not of unit length."""
        stop = self.dims if dims is None else dims
        parts = []
        if self.ngrams:
            parts.append(_times(bags, self.table[:, :stop]))
        if self.width is not None:
            centred = torch.as_tensor(features, dtype=torch.float32) - self.mean
            parts.append(centred @ self.head[:stop].T)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    @torch.no_grad()
    def begin(self, texts: Sequence[str], features: np.ndarray | None, seed: int) -> None:
        """
        Where learning starts: a random table; of the features their principal directions, each divided by the fourth
        root of its variance (by the square root the tail, which is noise, would weigh as much as the rest).
        """
        generator = torch.Generator().manual_seed(seed)
        if self.ngrams:
            self.idf.copy_(torch.from_numpy(np.asarray(Ngrams(3, 4, self.buckets).learn(texts).idf)))
            self.table.copy_(0.3 * torch.randn(self.table.shape, generator=generator))
        if self.width is not None:
            rows = torch.as_tensor(features, dtype=torch.float32)
            self.mean.copy_(rows.mean(0))
            centred = rows - self.mean
            values, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
            order = values.argsort(descending=True)[: self.dims]
            scaled = directions[:, order] / values[order].clamp_min(1e-9) ** 0.25
            self.head[: len(order)].copy_(scaled.T)
            if self.ngrams:  # the two begin with like lengths
                self.head.mul_(0.3 / (centred @ self.head.T).std())


def _times(bags: Any, table: torch.Tensor) -> torch.Tensor:
    """A CSR matrix times a table, differentiable in the table, reading its named rows alone."""
    indices, starts, weights = (torch.from_numpy(np.asarray(one)) for one in (bags.indices, bags.indptr, bags.data))
    return torch.nn.functional.embedding_bag(
        indices.long(), table, starts.long()[:-1], mode="sum", per_sample_weights=weights.float(),
        include_last_offset=False,
    )  # fmt: skip
