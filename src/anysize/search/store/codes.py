"""
Compact codes of a prefix, scanned by FAISS to propose candidates that the true vectors then rescore.

The codes are product-quantised with 16 centroids a part and scanned in registers (Andre et al., "Cache locality is
not enough", VLDB 2015; FAISS calls it FastScan): up to 64 parts of 4 bits, so a prefix of 64 or more coordinates
takes 32 bytes a row, at most an eighth of its floats, and is scanned several times faster than int8 codes. A prefix
in an HNSW graph (Malkov and Yashunin, 2018) holds int8 coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.errors import AnysizeError, CheckpointError

if TYPE_CHECKING:
    from anysize.search.store.segment import Segment

MIN_ROWS = 4096
"""Segments with fewer rows are scanned exactly: codes would save nothing there."""
_PARTS = 64
_TRAIN_ROWS = 16384
_CHUNK = 65536
_LINKS, _EF_BUILD = 16, 80


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
    index = faiss.IndexPQFastScan(parts * width, parts, 4, faiss.METRIC_INNER_PRODUCT)
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
    index = faiss.IndexHNSWSQ(dims, faiss.ScalarQuantizer.QT_8bit, _LINKS, faiss.METRIC_INNER_PRODUCT)
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
        Rows that score best by code: int64 (queries, keep), -1 where there are none; and the bytes touched.

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


def _prefixes(segment: Segment, dims: int, width: int, metric: str) -> Iterator[np.ndarray]:
    """Batches of the rows' first `dims` coordinates, of unit length for cosine, padded with zeros to `width`."""
    for start in range(0, segment.rows, _CHUNK):
        rows = slice(start, min(segment.rows, start + _CHUNK))
        out = np.zeros((rows.stop - rows.start, width), np.float32)
        for low, high, part in segment.pieces(0, dims, rows):
            out[:, low:high] = part
        if metric == "cosine":
            out /= np.maximum(segment.norms(dims, rows), np.finfo(np.float32).tiny)[:, None]
        yield out
