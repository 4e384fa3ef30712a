"""Rows that a scan proposes for one query, cut so that asking for more does not change which come first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

_NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Proposed:
    """Rows, best first, of which some may score the same and so have no order."""

    rows: Int64[np.ndarray, " n"]
    last: Int64[np.ndarray, " n"]
    """The last place of the equal scores that each row is among, ascending; past all where they may go on."""
    complete: bool = False
    """Whether these are all rows that there are."""

    @classmethod
    def ordered(cls, rows: Int64[np.ndarray, " n"]) -> Proposed:
        """Rows of which each has a place of its own."""
        return cls(rows, np.arange(len(rows)), complete=True)

    @classmethod
    def scored(cls, rows: Int64[np.ndarray, " n"], scores: Float[np.ndarray, " n"], *, complete: bool) -> Proposed:
        """Rows by their scores, best first; if they are not `complete`, others may score what the last one does."""
        ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
        last = ends[np.searchsorted(ends, np.arange(len(rows)))]
        if not complete:
            last[last == len(rows) - 1] = _NOWHERE
        return cls(rows, last, complete)

    def first(self, keep: int) -> Int64[np.ndarray, " m"] | None:
        """The rows that are among the best `keep` however equal scores are ordered; None if too few were found."""
        if len(self.rows) <= keep and not self.complete:
            return None
        return self.rows[: int(np.searchsorted(self.last, keep))]

    def without(self, row: int) -> Proposed:
        """The others, as if `row` were not there."""
        others = self.rows != row
        last = self.last[others]
        last = last if others.all() else last - (last >= np.argmin(others))
        return Proposed(self.rows[others], last, self.complete)
