"""The best of a long scan whose scores are known within bounds, with few passes over what is offered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int64

from anysize.evaluation.nearest import largest

_SPARE = 1024
_MOST = np.finfo(np.float32).max


class Pool:
    """
    Holds every row that may be among the best `keep` of what was offered.

    A row goes once `keep` others surely score more. Where the bounds leave too many, as among copies of one row,
    `exact` scores them: float64 of rows int64; of equal scores the earlier rows stay.
    """

    def __init__(self, keep: int, exact: Callable[[Int64[np.ndarray, " n"]], Float[np.ndarray, " n"]]) -> None:
        self._keep, self._exact = keep, exact
        self._threshold = -_MOST
        self._held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._count = 0

    def offer(self, start: int, upper: Float[np.ndarray, " rows"], slack: Float[np.ndarray, " rows"]) -> None:
        """Rows from number `start` on, that score at most `upper` and at least `slack` less; -inf is no candidate."""
        chosen = np.flatnonzero(upper >= self._threshold)
        if len(chosen):
            most, spare = upper[chosen], slack[chosen]
            least = np.where(np.isinf(spare), -np.inf, most - np.where(np.isinf(spare), 0, spare))
            self._held.append((chosen + start, most, least))
            self._count += len(chosen)
            if self._count > 4 * self._keep + _SPARE:
                self._shrink()

    def rows(self) -> Int64[np.ndarray, " n"]:
        """The rows that are left, ascending, at least the best `keep`."""
        self._shrink()
        return self._held[0][0] if self._held else np.zeros(0, np.int64)

    def _shrink(self) -> None:
        if not self._held:
            return
        rows, most, least = (np.concatenate(column) for column in zip(*self._held, strict=True))
        if len(rows) > self._keep:
            worst = -np.partition(-least, self._keep - 1)[self._keep - 1]
            left = most >= worst
            rows, most, least = rows[left], most[left], least[left]
            if len(rows) > 2 * self._keep + _SPARE:
                exact = self._exact(rows)
                best = largest(exact, self._keep)
                rows, most, least = rows[best], exact[best], exact[best]
                worst = exact[best].min()
            # A threshold in float32 must not be above the one in float64, or a row of that very score is lost.
            near = np.float32(np.clip(worst, -_MOST, _MOST))
            self._threshold = max(self._threshold, np.nextafter(near, np.float32(-np.inf)), -_MOST)
        self._held, self._count = [(rows, most, least)], len(rows)
