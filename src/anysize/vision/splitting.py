"""Which pictures are left out of what learns from labels: a fifth, by what they hold, so that all agree."""

from __future__ import annotations

import numpy as np

from anysize.core.data.held_out import key_of, stable_hash
from anysize.core.data.records import Items
from anysize.core.errors import DataError


def left_out(items: Items) -> np.ndarray:
    """(n,) bool: true for about a fifth, at least one. Raises `DataError` where none or all would be."""
    hashes = np.array([stable_hash(key_of(row)) for row in items.rows], dtype=np.uint64)
    found: np.ndarray = hashes % np.uint64(5) == 0
    if not found.any() and len(hashes):
        found[hashes.argmin()] = True
    if found.all() or not len(hashes):
        raise DataError(f"{len(hashes)} pictures are too few: one is learnt from, and one is left out to judge by")
    return found
