"""Ranks of values, ties sharing theirs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def average_ranks(values: npt.ArrayLike) -> np.ndarray:
    """(n,) ranks from 1, smallest first; equal values have the average of the ranks that they fill."""
    _, group, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]
