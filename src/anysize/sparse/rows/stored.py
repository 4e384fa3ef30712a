"""The rows that autoencoders learn from, batch by batch in a shuffled order that a resumed run repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from anysize.core.errors import DataError
from anysize.core.training.processes import part_of, place

_SHUFFLED_WHOLE = 1 << 31  # bytes up to which every row may come from anywhere
_BLOCK, _POOL = 1024, 256  # beyond: rows of a block stand together on disk, blocks of a pool are mixed in memory
_HELD_OUT, _MOST_HELD = 0.1, 32_768
_SAMPLE = 1 << 16


@dataclass(frozen=True)
class SparseBatch:
    """Rows (n, d) float32, and the classes of their items where those matter."""

    x: torch.Tensor
    """With pairs: the first halves, and after them their partners in the same order."""
    labels: torch.Tensor | None = None

    def to(self, device: torch.device) -> SparseBatch:
        """The same rows there."""
        return SparseBatch(self.x.to(device), None if self.labels is None else self.labels.to(device))


class Rows(Protocol):
    """Where a training loop gets its batches from."""

    @property
    def width(self) -> int:
        """Coordinates of a row."""

    @property
    def count(self) -> int:
        """Items that one pass over the training data holds, exactly or about."""

    def batches(self, number: int, size: int, skip: int = 0) -> Iterator[SparseBatch]:
        """The whole batches of pass `number`, without its first `skip`."""

    def sample(self) -> torch.Tensor:
        """Training rows to take mean and scale from."""

    def held_out(self) -> torch.Tensor:
        """Rows that training never sees, to calibrate thresholds on."""


class ArrayRows:
    """
    Rows of an array, in memory or mapped, of which a tenth (at most 32,768) is held out by a hash of the place.

    `partners` is an array of the same shape whose row i belongs to row i. Raises `DataError` if there are fewer than
    two rows or all are the same.
    """

    def __init__(self, vectors: Any, *, seed: int = 0, partners: Any = None, labels: np.ndarray | None = None) -> None:
        if len(vectors) < 2:
            raise DataError(f"{len(vectors)} rows are too few to learn from; give at least two")
        self.vectors, self.partners, self.seed = vectors, partners, seed
        self.labels = labels
        self.width = vectors.shape[1]
        held = is_held_out(np.arange(len(vectors)), len(vectors))
        self._held, self._kept = np.flatnonzero(held), np.flatnonzero(~held)
        self.count = len(self._kept)

    def batches(self, number: int, size: int, skip: int = 0) -> Iterator[SparseBatch]:
        """The whole batches of pass `number`, without its first `skip`; one in several processes takes its part."""
        rank, part = place()[0], part_of(size)
        order = self._order(number)
        for start in range(skip * size, len(order) - size + 1, size):
            yield self._batch(order[start + rank * part : start + (rank + 1) * part])

    def _order(self, number: int) -> np.ndarray:
        """Places of the training rows: wholly mixed if the array is small, else in pools of blocks of the disk."""
        rng = np.random.default_rng((self.seed, number))
        if 4 * self.width * len(self.vectors) <= _SHUFFLED_WHOLE:
            return rng.permutation(self._kept)
        blocks = np.array_split(self._kept, max(1, len(self._kept) // _BLOCK))
        blocks = [blocks[place] for place in rng.permutation(len(blocks))]
        pools = [np.concatenate(blocks[start : start + _POOL]) for start in range(0, len(blocks), _POOL)]
        return np.concatenate([rng.permutation(pool) for pool in pools])

    def _batch(self, places: np.ndarray) -> SparseBatch:
        x = self._take(self.vectors, places)
        if self.partners is not None:
            x = torch.cat([x, self._take(self.partners, places)])
        labels = None if self.labels is None else torch.from_numpy(self.labels[places])
        return SparseBatch(x, labels)

    @staticmethod
    def _take(vectors: Any, places: np.ndarray) -> torch.Tensor:
        # In the order of the disk, then back in the order asked for.
        order = np.argsort(places, kind="stable")
        found = np.empty((len(places), vectors.shape[1]), np.float32)
        found[order] = vectors[places[order]]
        return torch.from_numpy(found)

    def sample(self) -> torch.Tensor:
        """Up to 65,536 training rows, evenly spread."""
        chosen = self._kept[:: -(-len(self._kept) // _SAMPLE)]
        found = self._take(self.vectors, chosen)
        return found if self.partners is None else torch.cat([found, self._take(self.partners, chosen)])

    def held_out(self) -> torch.Tensor:
        """The rows that training never sees."""
        return self._take(self.vectors, self._held)


def is_held_out(places: np.ndarray, total: int) -> np.ndarray:
    """Which rows, by their place among `total`, are kept from training; at least one, and at least one is not."""
    share = min(_HELD_OUT, _MOST_HELD / total)
    mixed = (places.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    held = (mixed >> np.uint64(32)) < np.uint64(int(share * 2**32))
    if len(places) == total and not held.any():
        held[-1] = True
    return held


def mean_and_scale(rows: torch.Tensor, *, center: bool = True, scale: bool = True) -> tuple[torch.Tensor, float]:
    """
    What makes rows centred and of mean square norm d, from a sample (n, d), in double precision.

    Raises `DataError` if all rows are the same.
    """
    held = rows.double()
    mean = held.mean(0)
    spread = float((held - mean).square().sum(1).mean())
    if not spread > 1e-12 * float(held.square().sum(1).mean()):
        raise DataError("all rows are the same, so there is nothing to learn; check what the file holds")
    around = spread if center else float(held.square().sum(1).mean())
    return (mean if center else torch.zeros_like(mean)).float(), (rows.shape[1] / around) ** 0.5 if scale else 1.0
