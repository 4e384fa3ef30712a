"""
Scoring: the scan of a prefix block and the rescoring of a shortlist by running partial sums.

The dot product of m coordinates is a running sum, so a rescoring stage reads the remaining blocks of the shortlist's
rows and nothing else. Cosine divides by the lengths of the two prefixes: slice, then normalise.

A matrix product rounds a row's score differently at different places of the matrix, so that it can neither rank equal
rows nor repeat itself for another number of hits. A scan therefore only leaves out rows that its error bound excludes;
what is left is summed again in float64, row by row, and equal scores go by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int64, Integer

from anysize.evaluation.nearest import directions, largest
from anysize.search.scoring.pool import Pool
from anysize.search.store.segment import Rows, Segment

_CHUNK = 16384
_FEW = 1000
"""Up to so many rows it takes no longer to sum all of them in float64 than to find out which need not be."""
_ROUNDING = 2.0**-24
_PLAIN = (1e-30, 1e30)
"""Lengths of rows between which products in float32 neither underflow nor overflow; other rows are left to float64."""


@dataclass(frozen=True)
class Shortlist:
    """Candidates of one query over all segments, in ascending order of row."""

    rows: Int64[np.ndarray, " n"]
    """Numbers over all segments, each segment's rows following those of the one before."""
    dots: Float[np.ndarray, " n"]
    """Running dot products over the first `dims` coordinates, float64."""
    squares: Float[np.ndarray, " n"]
    """Running squared lengths of the rows over the same coordinates, float64."""
    scores: Float[np.ndarray, " n"]
    """The dot products, or the cosines of the prefixes, float64."""
    dims: int

    def best(self, keep: int) -> Shortlist:
        """The `keep` candidates of the highest scores; of equal scores the earlier rows."""
        return self if keep >= len(self.rows) else self.at(largest(self.scores, keep))

    def at(self, chosen: Integer[np.ndarray, " m"]) -> Shortlist:
        """The candidates at some places, ascending."""
        return Shortlist(self.rows[chosen], self.dots[chosen], self.squares[chosen], self.scores[chosen], self.dims)

    def ranked(self) -> Integer[np.ndarray, " n"]:
        """Positions from the best score to the worst; equal scores in order of row."""
        return np.argsort(-self.scores, kind="stable")


def merge(shortlists: Sequence[Shortlist], dims: int) -> Shortlist:
    """One shortlist from those of successive segments."""
    if not shortlists:
        return unscored(np.zeros(0, np.int64), dims)
    if len(shortlists) == 1:
        return shortlists[0]
    rows, dots, squares, scores = (
        np.concatenate([getattr(one, name) for one in shortlists]) for name in ("rows", "dots", "squares", "scores")
    )
    return Shortlist(rows, dots, squares, scores, dims)


def unscored(rows: Integer[np.ndarray, " n"], dims: int = 0) -> Shortlist:
    """A shortlist of ascending rows of which no coordinate has been read."""
    zeros = np.zeros(len(rows))
    return Shortlist(rows, zeros, zeros, zeros, dims)


class Scorer:
    """Scores queries, float64 and of any length but scaled by `Queries`, against the rows of a list of segments."""

    def __init__(self, segments: Sequence[Segment], metric: str) -> None:
        self.segments = segments
        self.metric = metric
        self.starts = np.cumsum([0, *(segment.rows for segment in segments)])

    def scan(self, queries: Float[np.ndarray, "q d"], dims: int, keep: int, number: int) -> tuple[list[Shortlist], int]:
        """
        The best `keep` rows of segment `number` by their first `dims` coordinates, for each of `queries`.

        Returns a shortlist a query, and the bytes read.
        """
        segment, start = self.segments[number], int(self.starts[number])
        asked = directions(queries[:, :dims]).astype(np.float32)
        pools = [Pool(keep, partial(self._scores_of, segment, query, dims)) for query in queries]
        for first in range(0, segment.rows, _CHUNK):
            rows = slice(first, min(segment.rows, first + _CHUNK))
            upper, slack = self._bounds(segment, asked, dims, rows)
            low, high = np.searchsorted(segment.deleted, (rows.start, rows.stop))
            upper[segment.deleted[low:high] - first] = -np.inf
            for column, pool in enumerate(pools):
                pool.offer(first, upper[:, column], slack)
        found = []
        for query, pool in zip(queries, pools, strict=True):
            left = pool.rows()
            dots, squares = self._sums(segment, query, 0, dims, left)
            scores = self._scores(query, dots, squares, dims)
            found.append(Shortlist(left + start, dots, squares, scores, dims).best(keep))
        return found, segment.rows * 4 * (dims + 1)

    def rescore(self, query: Float[np.ndarray, " d"], shortlist: Shortlist, dims: int) -> tuple[Shortlist, int]:
        """
        The same rows scored by the first `dims` coordinates of `query`, and the bytes read.

        Only the coordinates that are not summed yet are read.
        """
        dots, squares = shortlist.dots.copy(), shortlist.squares.copy()
        for segment, local, part in self._split(shortlist.rows):
            more = self._sums(segment, query, shortlist.dims, dims, local)
            dots[part] += more[0]
            squares[part] += more[1]
        scores = self._scores(query, dots, squares, dims)
        read = len(dots) * 4 * (dims - shortlist.dims)
        return Shortlist(shortlist.rows, dots, squares, scores, dims), read

    def narrow(
        self, query: Float[np.ndarray, " d"], rows: Int64[np.ndarray, " n"], dims: int, keep: int, number: int
    ) -> tuple[Shortlist, int]:
        """The best `keep` of some `rows` of segment `number`, ascending, by their first `dims` coordinates; bytes."""
        segment, start = self.segments[number], int(self.starts[number])
        local, read = rows - start, 0
        if len(local) > keep + _FEW:  # what surely is not among the best need not be summed in float64
            asked = directions(query[None, :dims]).astype(np.float32)
            upper, slack = self._bounds(segment, asked, dims, local)
            pool = Pool(keep, lambda places: self._scores_of(segment, query, dims, local[places]))
            pool.offer(0, upper[:, 0], slack)
            read, local = len(local) * 4 * (dims + 1), local[pool.rows()]
        scored, more = self.rescore(query, unscored(local + start), dims)
        return scored.best(keep), read or more

    def _split(self, rows: np.ndarray) -> Iterator[tuple[Segment, np.ndarray, slice]]:
        cuts = np.searchsorted(rows, self.starts)
        for number, segment in enumerate(self.segments):
            part = slice(int(cuts[number]), int(cuts[number + 1]))
            if part.start < part.stop:
                yield segment, rows[part] - self.starts[number], part

    def _bounds(
        self, segment: Segment, asked: Float[np.ndarray, "q d"], dims: int, rows: Rows
    ) -> tuple[Float[np.ndarray, "rows q"], Float[np.ndarray, " rows"]]:
        """What each row scores at most, and by how much that may be too high, for queries of unit length."""
        lengths = segment.norms(dims, rows)
        plain = (lengths > _PLAIN[0]) & (lengths < _PLAIN[1])
        total = None
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for a, b, block in segment.pieces(0, dims, rows):
                dots = block @ asked[:, a:b].T  # (rows, width) x (width, q)
                total = dots if total is None else np.add(total, dots, out=total)
            assert total is not None
            slack = np.full(len(lengths), 2 * (dims + 8) * _ROUNDING, np.float32)
            if self.metric == "cosine":
                total *= np.reciprocal(lengths, where=plain, out=np.zeros_like(lengths))[:, None]
                upper = np.add(total, slack[0] / 2, out=total)
            else:
                slack *= lengths
                upper = np.add(total, slack[:, None] / 2, out=total)
        if not plain.all():
            upper[~plain] = np.where(lengths[~plain] == 0, 0, np.inf)[:, None]
            slack[~plain] = np.where(lengths[~plain] == 0, 0, np.inf)
        return upper, slack

    def _sums(
        self, segment: Segment, query: Float[np.ndarray, " d"], low: int, high: int, rows: np.ndarray
    ) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        """Products and squared lengths over [low, high), summed for each row by itself and so alike for equal rows."""
        dots, squares = np.zeros(len(rows)), np.zeros(len(rows))
        for first in range(0, len(rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            for a, b, block in segment.pieces(low, high, rows[part]):
                exact = block.astype(np.float64)
                dots[part] += np.einsum("nd,d->n", exact, query[a:b])
                if self.metric == "cosine":
                    squares[part] += np.einsum("nd,nd->n", exact, exact)
        return dots, squares

    def _scores_of(
        self, segment: Segment, query: Float[np.ndarray, " d"], dims: int, rows: np.ndarray
    ) -> Float[np.ndarray, " rows"]:
        return self._scores(query, *self._sums(segment, query, 0, dims, rows), dims)

    def _scores(
        self,
        query: Float[np.ndarray, " d"],
        dots: Float[np.ndarray, " rows"],
        squares: Float[np.ndarray, " rows"],
        dims: int,
    ) -> Float[np.ndarray, " rows"]:
        if self.metric == "dot":
            return dots
        lengths = np.sqrt(squares) * np.linalg.norm(query[:dims])
        return np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
