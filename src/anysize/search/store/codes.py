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
from anysize.evaluation.nearest import unit

if TYPE_CHECKING:
    from anysize.search.store.segment import Segment

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

    def candidates(self, queries: np.ndarray, keep: int) -> tuple[np.ndarray, int]:
        """
        Rows that score best by code: int64 (queries, keep), -1 where there are none; and the bytes touched a query.

        `queries` is float32 (queries, dims). The bytes of a graph search are its visited nodes' codes and links.
        """
        faiss = _faiss()
        padded = np.zeros((len(queries), self._index.d), np.float32)
        padded[:, : queries.shape[1]] = queries
        if not self._graph:
            return self._index.search(padded, keep)[1], self._bytes
        faiss.cvar.hnsw_stats.reset()
        settings = faiss.SearchParametersHNSW(efSearch=max(64, keep))
        rows = self._index.search(padded, keep, params=settings)[1]
        node = self._index.d + 4 * 2 * _LINKS
        return rows, int(faiss.cvar.hnsw_stats.ndis) * node // max(1, len(queries))


def propose(segment: Segment, name: str, queries: np.ndarray, keep: int) -> tuple[list[np.ndarray | None], int]:
    """
    The best `keep` rows that are left, by the scanner `name` ("codes-64", "hnsw-64"), and the bytes touched a query.

    `queries` is float32 (queries, dims), of unit length. Rows int64, best first, a query; None where the scanner does
    not come up with as many as there are, so that a caller scans instead of losing some.
    """
    scanner = segment.scanner(name)
    if scanner is None or not len(queries):
        return [None] * len(queries), 0
    wanted = min(keep, segment.rows - len(segment.deleted))
    # Rows deleted since the codes were made still come up, so more are asked for, up to where a scan is as cheap.
    asked, most = min(segment.rows, keep + min(len(segment.deleted), keep)), max(keep, segment.rows // 4)
    touched = 0
    while True:
        rows, looked = scanner.candidates(queries, asked)
        touched += looked
        found = [one[~segment.dead(one)][:wanted] for one in (row[row >= 0] for row in rows)]
        if asked >= most or not len(segment.deleted) or all(len(one) >= wanted for one in found):
            break
        asked = min(4 * asked, most)
    return [one if len(one) >= wanted else None for one in found], touched


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
