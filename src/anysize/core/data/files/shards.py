"""A folder of .npy files read as one table of vectors, memory-mapped, so that it may be larger than the memory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np


class Shards:
    """
    The rows of several arrays of equal width, one array after the other; any slice or list of places is float32.

    It stands where an array of vectors stands: it has ``shape``, a length and indexing by row.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts
        self.starts = np.array([0, *itertools.accumulate(len(part) for part in parts)])
        self.shape = (int(self.starts[-1]), parts[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        places = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if places.dtype == bool:
            places = np.flatnonzero(places)
        found = np.empty((len(places), self.shape[1]), np.float32)
        part = np.searchsorted(self.starts, places, side="right") - 1
        for number in np.unique(part):
            here = part == number
            with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused by its reader
                found[here] = self.parts[number][places[here] - self.starts[number]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)
