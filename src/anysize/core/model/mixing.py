"""Items that each run at a size of their own: what is asked for in the same moment is run together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anysize.core.sizes.size import Size


def by_size(items: Any, sizes: Sequence[Size], run: Callable[[Size, Any], Any]) -> list[Any]:
    """What ``run(size, items)`` gives for the items of each distinct size, one for each item, in their order."""
    found: list[Any] = [None] * len(sizes)
    for size in dict.fromkeys(sizes):
        rows = [row for row, own in enumerate(sizes) if own == size]
        part = items[rows] if isinstance(items, np.ndarray) else [items[row] for row in rows]
        for row, output in zip(rows, run(size, part), strict=True):
            found[row] = output
    return found
