"""
Scoring: the scan of a prefix block and the rescoring of a shortlist by running partial sums.

The dot product of m coordinates is a running sum, so a rescoring stage reads the remaining blocks of the shortlist's
rows and nothing else. Cosine divides by the lengths of the two prefixes: slice, then normalise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, Integer

from anysize.search.store.segment import Rows, Segment

_CHUNK = 16384
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Shortlist:
    """Candidates of one query over all segments, in ascending order of row."""

    rows: Int64[np.ndarray, " n"]
    """Numbers over all segments, each segment's rows following those of the one before."""
    dots: Float[np.ndarray, " n"]
    """Running dot products over the first `dims` coordinates."""
    scores: Float[np.ndarray, " n"]
    """The dot products, or the cosines of the prefixes."""
    dims: int

    def best(self, keep: int) -> Shortlist:
        """The `keep` candidates of the highest scores."""
        if keep >= len(self.rows):
            return self
        chosen = np.sort(np.argpartition(self.scores, -keep)[-keep:])
        return Shortlist(self.rows[chosen], self.dots[chosen], self.scores[chosen], self.dims)

    def ranked(self) -> Integer[np.ndarray, " n"]:
        """Positions from the best score to the worst; equal scores in order of row."""
        return np.argsort(-self.scores, kind="stable")


def merge(shortlists: Sequence[Shortlist], dims: int) -> Shortlist:
    """One shortlist from those of successive segments."""
    if not shortlists:
        return Shortlist(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32), dims)
    rows, dots, scores = (
        np.concatenate([getattr(one, name) for one in shortlists]) for name in ("rows", "dots", "scores")
    )
    return Shortlist(rows, dots, scores, dims)


class Scorer:
    """Scores queries against the rows of a list of segments."""

    def __init__(self, segments: Sequence[Segment], metric: str) -> None:
        self.segments = segments
        self.metric = metric
        self.starts = np.cumsum([0, *(segment.rows for segment in segments)])

    def scan(self, queries: Float[np.ndarray, "q d"], dims: int, keep: int, number: int) -> tuple[list[Shortlist], int]:
        """
        The best `keep` rows of segment `number` by their first `dims` coordinates, for each of `queries`.

        Returns a shortlist a query, and the bytes read.
        """
        segment = self.segments[number]
        pools = [_Pool(keep) for _ in queries]
        for start in range(0, segment.rows, _CHUNK):
            rows = slice(start, min(segment.rows, start + _CHUNK))
            dots = self._dots(segment, queries, 0, dims, rows)  # (rows, q)
            scores = self._scores(segment, queries, dots, dims, rows)
            low, high = np.searchsorted(segment.deleted, (rows.start, rows.stop))
            if low < high:
                scores = scores.copy()
                scores[segment.deleted[low:high] - start] = -np.inf
            for column, pool in enumerate(pools):
                pool.offer(start, dots[:, column], scores[:, column])
        return [pool.shortlist(int(self.starts[number]), dims) for pool in pools], self._bytes(segment.rows, 0, dims)

    def rescore(self, query: Float[np.ndarray, " d"], shortlist: Shortlist, dims: int) -> tuple[Shortlist, int]:
        """
        The same rows scored by the first `dims` coordinates of `query`, and the bytes read.

        Only the coordinates that are not summed yet are read.
        """
        dots, scores = shortlist.dots.copy(), np.empty(len(shortlist.rows), np.float32)
        for segment, local, part in self._split(shortlist.rows):
            dots[part] += self._dots(segment, query[None], shortlist.dims, dims, local)[:, 0]
            scores[part] = self._scores(segment, query[None], dots[part, None], dims, local)[:, 0]
        return Shortlist(shortlist.rows, dots, scores, dims), self._bytes(len(dots), shortlist.dims, dims)

    def unscored(self, rows: Integer[np.ndarray, " n"], number: int) -> Shortlist:
        """A shortlist of rows of segment `number` of which no coordinate has been read; deleted rows are dropped."""
        segment = self.segments[number]
        kept = np.sort(rows[rows >= 0])
        if len(segment.deleted):
            kept = kept[~np.isin(kept, segment.deleted)]
        zeros = np.zeros(len(kept), np.float32)
        return Shortlist(kept + self.starts[number], zeros, zeros, 0)

    def _split(self, rows: np.ndarray) -> Iterator[tuple[Segment, np.ndarray, slice]]:
        cuts = np.searchsorted(rows, self.starts)
        for number, segment in enumerate(self.segments):
            part = slice(int(cuts[number]), int(cuts[number + 1]))
            if part.start < part.stop:
                yield segment, rows[part] - self.starts[number], part

    def _dots(
        self, segment: Segment, queries: Float[np.ndarray, "q d"], low: int, high: int, rows: Rows
    ) -> Float[np.ndarray, "rows q"]:
        total = None
        for a, b, block in segment.pieces(low, high, rows):
            dots = block @ queries[:, a:b].T  # (rows, width) x (width, q)
            total = dots if total is None else total + dots
        assert total is not None
        return total

    def _scores(
        self,
        segment: Segment,
        queries: Float[np.ndarray, "q d"],
        dots: Float[np.ndarray, "rows q"],
        dims: int,
        rows: Rows,
    ) -> Float[np.ndarray, "rows q"]:
        if self.metric == "dot":
            return dots
        lengths = np.linalg.norm(queries[:, :dims], axis=1)  # (q,)
        inverse = np.reciprocal(np.maximum(segment.norms(dims, rows), _TINY))
        return dots * inverse[:, None] / np.maximum(lengths, _TINY)

    def _bytes(self, rows: int, low: int, high: int) -> int:
        return rows * 4 * (high - low + (self.metric == "cosine"))


class _Pool:
    """The best `keep` of what is offered, with few passes: what beats the worst of the best so far is kept aside."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._threshold = np.float32(-np.inf)
        self._held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._count = 0

    def offer(self, start: int, dots: np.ndarray, scores: np.ndarray) -> None:
        chosen = np.flatnonzero(scores > self._threshold)
        if len(chosen):
            self._held.append((chosen + start, dots[chosen], scores[chosen]))
            self._count += len(chosen)
            if self._count > 4 * self._keep:
                self._shrink()

    def shortlist(self, start: int, dims: int) -> Shortlist:
        self._shrink()
        if not self._held:
            return merge([], dims)
        rows, dots, scores = self._held[0]
        return Shortlist(rows + start, dots, scores, dims)

    def _shrink(self) -> None:
        if not self._held:
            return
        rows, dots, scores = (np.concatenate(column) for column in zip(*self._held, strict=True))
        if len(rows) > self._keep:
            chosen = np.sort(np.argpartition(scores, -self._keep)[-self._keep :])
            rows, dots, scores = rows[chosen], dots[chosen], scores[chosen]
            self._threshold = scores.min()
        self._held, self._count = [(rows, dots, scores)], len(rows)
