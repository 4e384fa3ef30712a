"""Queries as they are scored: checked, and scaled once, in float64, where they enter."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64

from anysize.core.errors import DataError, SizeError
from anysize.evaluation.nearest import directions

_MOST = float(np.finfo(np.float32).max)


def check_queries(vectors: Any, dims: int, metric: str) -> Float64[np.ndarray, "q d"]:
    """
    Vectors (q, dims) of any finite magnitude, as float64.

    Raises `DataError`, naming the query, for NaN, infinite values, a vector without direction where the metric is the
    cosine, and one that makes inner products with float32 rows too large for any number; `SizeError` for another width.
    """
    rows = np.asarray(vectors)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise DataError(f"expected vectors as rows of numbers, got shape {rows.shape} of {rows.dtype}")
    if rows.shape[1] != dims:
        raise SizeError(f"a query of {rows.shape[1]} coordinates for an index of {dims}; expected the same width")
    with np.errstate(over="ignore"):  # of what is wider than float64
        rows = rows.astype(np.float64)
    most = np.abs(rows).max(axis=1, initial=0)  # (q,)
    _refuse(~np.isfinite(most), "holds NaN or an infinite value; remove or repair it")
    if metric == "cosine":
        _refuse(most == 0, "is a vector of zeros, which has no direction; expected another")
    else:
        _refuse(most > _MOST, f"holds values above {_MOST:.2g}, too large for inner products; scale it down")
    return rows


def scaled(
    queries: Float64[np.ndarray, "q d"], metric: str
) -> tuple[Float64[np.ndarray, "q d"], Float64[np.ndarray, " q"]]:
    """Queries at length 1, and what each one's scores are to be multiplied with: its length, or 1 for the cosine."""
    found = directions(queries)
    if metric == "cosine":
        return found, np.ones(len(found))
    most = np.abs(queries).max(axis=1, initial=0)
    shrunk = np.divide(queries, most[:, None], out=np.zeros_like(queries), where=most[:, None] > 0)
    return found, most * np.linalg.norm(shrunk, axis=1)


def _refuse(wrong: np.ndarray, why: str) -> None:
    if wrong.any():
        which = f"query {int(np.argmax(wrong))} (from 0)" if len(wrong) > 1 else "the query"
        raise DataError(f"{which} {why}")
