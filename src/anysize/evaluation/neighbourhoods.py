"""How much of each item's neighbourhood other vectors keep, over rows that need not fit into the memory together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64

from anysize.core.errors import AnysizeError
from anysize.evaluation.nearest import unit

_SCORES_AT_ONCE = 1 << 23  # 32 MB of float32
_ROWS_AT_ONCE = 1 << 14
_FIRST = 256  # rows of the first block, of which every score is a candidate

Vectors = Callable[[Any], np.ndarray]
"""Rows (n, d) to the vectors (n, m) to compare them by."""


def nearest_others(rows: Any, vectors: Vectors, asked: Int64[np.ndarray, " q"], k: int) -> Int64[np.ndarray, "q k"]:
    """
    The k nearest rows by cosine, itself left out, of each row that is asked for: places (q, k), nearest first.

    `rows` is an array (n, d) or what is sliced like one; `vectors` is applied to a block of them at a time. Of equal
    cosines the earlier row comes first. Raises `AnysizeError` if there are not k other rows.
    """
    if k < 1 or len(rows) <= k:
        raise AnysizeError(f"{len(rows)} rows; expected more than k={k}")
    queries = unit(vectors(rows[asked]))
    best = _Best(len(asked), k)
    most = max(1, min(_ROWS_AT_ONCE, _SCORES_AT_ONCE // len(asked)))
    start, step = 0, min(_FIRST, most)
    while start < len(rows):
        block = unit(vectors(rows[start : start + step]))
        scores = queries @ block.T
        here = np.flatnonzero((asked >= start) & (asked < start + len(block)))
        scores[here, asked[here] - start] = -np.inf
        best.take(scores, start)
        del block, scores  # before the next are made: there is room for one block of scores
        start, step = start + step, min(2 * step, most)
    return best.places


def kept(before: Int64[np.ndarray, "q k"], after: Int64[np.ndarray, "q k"]) -> Float[np.ndarray, " q"]:
    """The share of each row of places that the other row holds too."""
    return (before[:, :, None] == after[:, None, :]).any(axis=2).mean(axis=1)


class _Best:
    """The best k of all scores so far, a block of documents after the other."""

    def __init__(self, queries: int, k: int) -> None:
        self.places = np.full((queries, k), -1, np.int64)
        self.scores = np.full((queries, k), -np.inf, np.float32)

    def take(self, scores: Float32[np.ndarray, "q block"], start: int) -> None:
        """Only what beats the last of the best is sorted: soon hardly any score of a block."""
        count, k = self.places.shape
        row, column = np.nonzero(scores > self.scores[:, -1:])
        if not len(row):
            return
        rows = np.concatenate([np.repeat(np.arange(count), k), row])
        places = np.concatenate([self.places.ravel(), column + start])
        values = np.concatenate([self.scores.ravel(), scores[row, column]])
        order = np.lexsort((places, -values, rows))
        rows = rows[order]
        within = np.arange(len(rows)) - np.searchsorted(rows, np.arange(count))[rows]
        chosen = order[within < k]
        self.places, self.scores = places[chosen].reshape(count, k), values[chosen].reshape(count, k)
