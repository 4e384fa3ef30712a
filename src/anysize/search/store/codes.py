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

from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError, CheckpointError

MIN_ROWS = 4096
"""Segments with fewer rows are scanned exactly: codes would save nothing there."""
LINKS = 16
"""Links of a node of a graph."""


def faiss() -> Any:
    """The library. Raises `AnysizeError`, saying how it is installed, where it is missing."""
    try:
        import faiss as library
    except ImportError as error:
        raise AnysizeError("codes and graphs need FAISS; install it with: pip install 'anysize[search]'") from error
    return library


class Codes:
    """Codes or a graph, read once from the mapped file and kept."""

    def __init__(self, raw: np.ndarray, path: Path) -> None:
        library = faiss()
        try:
            self._index = library.deserialize_index(raw)
        except RuntimeError as error:
            raise CheckpointError(f"{path} cannot be read; it was altered, so build the index again") from error
        self._graph = isinstance(self._index, library.IndexHNSW)
        self._bytes = len(raw)

    def candidates(self, queries: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray, int]:
        """
        Rows that score best by code, best first, and their scores: int64 and float32 (queries, keep); bytes a query.

        A row is -1 where there are no more. Only which scores are equal is told by them: a distance is best if least.

        `queries` is float32 (queries, dims). The bytes of a graph search are its visited nodes' codes and links.
        """
        library = faiss()
        padded = np.zeros((len(queries), self._index.d), np.float32)
        padded[:, : queries.shape[1]] = queries
        if not self._graph:
            scores, rows = self._index.search(padded, keep)
            return rows, scores, self._bytes
        library.cvar.hnsw_stats.reset()
        settings = library.SearchParametersHNSW(efSearch=max(64, keep))
        scores, rows = self._index.search(padded, keep, params=settings)
        node = self._index.d + 4 * 2 * LINKS
        return rows, scores, int(library.cvar.hnsw_stats.ndis) * node // max(1, len(queries))
