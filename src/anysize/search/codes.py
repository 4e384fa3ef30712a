"""
Compact codes of a prefix, scanned by FAISS to propose candidates that the true vectors then rescore.

The codes are product-quantised with 16 centroids a part and scanned in registers (Andre et al., "Cache locality is
not enough", VLDB 2015; FAISS calls it FastScan): up to 64 parts of 4 bits, so a prefix of 64 or more coordinates
takes 32 bytes a row, at most an eighth of its floats, and is scanned several times faster than int8 codes. A prefix
in an HNSW graph (Malkov and Yashunin, 2018) holds int8 coordinates.

For the cosine, prefixes are of unit length, and codes compare by L2, which orders those as the inner product does: what
a code stands for is not of unit length, so an inner product would take its error along the query at full size, L2 only
across the small difference. Inner products of vectors of any length are compared as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.neighbours import unit
from anysize.search.proposed import Proposed

if TYPE_CHECKING:
    from anysize.search.segment import Segment

MIN_ROWS = 4096
"""Segments with fewer rows are scanned exactly: codes would save nothing there."""
_PARTS = 64
_TRAIN_ROWS = 16384
_CHUNK = 65536
_LINKS, _EF_BUILD = 16, 80
_LONGEST = float(np.finfo(np.float32).max)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise AnysizeError("codes and graphs need FAISS; install it with: pip install 'anysize[search]'") from error
    return faiss


def build_codes(segment: Segment, dims: int, metric: str) -> np.ndarray:
    """Codes of every row's first `dims` coordinates, as the bytes of a file."""
    faiss = _faiss()
    width = -(-dims // _PARTS)  # coordinates in one part
    parts = -(-dims // width)
    index = faiss.IndexPQFastScan(parts * width, parts, 4, _comparison(metric))
    index.pq.cp.min_points_per_centroid = 1
    step = max(1, segment.rows // _TRAIN_ROWS)
    sample = [batch[::step] for batch in _prefixes(segment, dims, parts * width, metric)]
    index.train(np.concatenate(sample))
    for batch in _prefixes(segment, dims, parts * width, metric):
        index.add(batch)
    return faiss.serialize_index(index)


def build_hnsw(segment: Segment, dims: int, metric: str) -> np.ndarray:
    """An HNSW graph over every row's first `dims` coordinates, as the bytes of a file."""
    faiss = _faiss()
    index = faiss.IndexHNSWSQ(dims, faiss.ScalarQuantizer.QT_8bit, _LINKS, _comparison(metric))
    index.hnsw.efConstruction = _EF_BUILD
    step = max(1, segment.rows // _TRAIN_ROWS)
    index.train(np.concatenate([batch[::step] for batch in _prefixes(segment, dims, dims, metric)]))
    for batch in _prefixes(segment, dims, dims, metric):
        index.add(batch)
    return faiss.serialize_index(index)


class Codes:
    """Codes or a graph, read once from the mapped file and kept."""

    def __init__(self, raw: np.ndarray, path: Path) -> None:
        faiss = _faiss()
        try:
            self._index = faiss.deserialize_index(raw)
        except RuntimeError as error:
            raise CheckpointError(f"{path} cannot be read; it was altered, so build the index again") from error
        self._graph = isinstance(self._index, faiss.IndexHNSW)
        self._bytes = len(raw)

    def candidates(self, queries: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray, int]:
        """
        Rows that score best by code, best first, and their scores: int64 and float32 (queries, keep); bytes a query.

        A row is -1 where there are no more. Only which scores are equal is told by them: a distance is best if least.

        `queries` is float32 (queries, dims). The bytes of a graph search are its visited nodes' codes and links.
        """
        faiss = _faiss()
        padded = np.zeros((len(queries), self._index.d), np.float32)
        padded[:, : queries.shape[1]] = queries
        if not self._graph:
            scores, rows = self._index.search(padded, keep)
            return rows, scores, self._bytes
        faiss.cvar.hnsw_stats.reset()
        settings = faiss.SearchParametersHNSW(efSearch=max(64, keep))
        scores, rows = self._index.search(padded, keep, params=settings)
        node = self._index.d + 4 * 2 * _LINKS
        return rows, scores, int(faiss.cvar.hnsw_stats.ndis) * node // max(1, len(queries))


def propose(segment: Segment, name: str, queries: np.ndarray, keep: int) -> tuple[list[Proposed | None], int]:
    """
    The best `keep` rows that are left, by the scanner `name` ("codes-64", "hnsw-64"), and the bytes touched a query.

    `queries` is float32 (queries, dims), of unit length. The scanner may come up with fewer; None where there is none.
    """
    scanner = segment.scanner(name)
    if scanner is None or not len(queries):
        return [None] * len(queries), 0
    alive = segment.rows - len(segment.deleted)
    wanted = min(keep + 1, alive)  # one more, which tells whether the last one's score is another
    # Rows deleted since the codes were made still come up, so more are asked for, up to where a scan is as cheap.
    asked, most = min(segment.rows, wanted + min(len(segment.deleted), keep)), max(wanted, segment.rows // 4)
    touched = 0
    while True:
        rows, scores, looked = scanner.candidates(queries, asked)
        touched += looked
        left = [(row >= 0) & ~segment.dead(row) for row in rows]
        if asked >= most or not len(segment.deleted) or all(one.sum() >= wanted for one in left):
            break
        asked = min(4 * asked, most)
    found: list[Proposed | None] = [
        Proposed.scored(row[one][:wanted], score[one][:wanted], complete=one.sum() == alive)
        for row, score, one in zip(rows, scores, left, strict=True)
    ]
    return found, touched


def _comparison(metric: str) -> int:
    faiss = _faiss()
    return int(faiss.METRIC_L2 if metric == "cosine" else faiss.METRIC_INNER_PRODUCT)


def _prefixes(segment: Segment, dims: int, width: int, metric: str) -> Iterator[np.ndarray]:
    """
    Batches of the rows' first `dims` coordinates, padded with zeros to `width`.

    Of unit length for the cosine; for inner products the longest is, which changes no order and keeps k-means finite.
    """
    longest = 1.0
    if metric == "dot":
        longest = float(np.max(segment.norms(dims, slice(0, segment.rows)), initial=0)) or 1.0
    for start in range(0, segment.rows, _CHUNK):
        rows = slice(start, min(segment.rows, start + _CHUNK))
        out = np.zeros((rows.stop - rows.start, width), np.float32)
        for low, high, part in segment.pieces(0, dims, rows):
            out[:, low:high] = part
        yield unit(out) if metric == "cosine" else (out / min(longest, _LONGEST)).astype(np.float32)
