"""Codes and graphs of a segment's prefixes, as FAISS makes them; what they are is told in `store.codes`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from anysize.evaluation.nearest import unit
from anysize.search.store.codes import LINKS, faiss
from anysize.search.store.segment import Segment

_PARTS = 64
_TRAIN_ROWS = 16384
_CHUNK = 65536
_EF_BUILD = 80
_LONGEST = float(np.finfo(np.float32).max)


def build_codes(segment: Segment, dims: int, metric: str) -> np.ndarray:
    """Codes of every row's first `dims` coordinates, as the bytes of a file."""
    library = faiss()
    width = -(-dims // _PARTS)  # coordinates in one part
    parts = -(-dims // width)
    index = library.IndexPQFastScan(parts * width, parts, 4, _comparison(metric))
    index.pq.cp.min_points_per_centroid = 1
    step = max(1, segment.rows // _TRAIN_ROWS)
    sample = [batch[::step] for batch in _prefixes(segment, dims, parts * width, metric)]
    index.train(np.concatenate(sample))
    for batch in _prefixes(segment, dims, parts * width, metric):
        index.add(batch)
    return library.serialize_index(index)


def build_hnsw(segment: Segment, dims: int, metric: str) -> np.ndarray:
    """An HNSW graph over every row's first `dims` coordinates, as the bytes of a file."""
    library = faiss()
    index = library.IndexHNSWSQ(dims, library.ScalarQuantizer.QT_8bit, LINKS, _comparison(metric))
    index.hnsw.efConstruction = _EF_BUILD
    step = max(1, segment.rows // _TRAIN_ROWS)
    index.train(np.concatenate([batch[::step] for batch in _prefixes(segment, dims, dims, metric)]))
    for batch in _prefixes(segment, dims, dims, metric):
        index.add(batch)
    return library.serialize_index(index)


def _comparison(metric: str) -> int:
    library = faiss()
    return int(library.METRIC_L2 if metric == "cosine" else library.METRIC_INNER_PRODUCT)


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
