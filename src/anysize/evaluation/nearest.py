"""Exact nearest neighbours, and what is measured with them: k-NN accuracy and how much of a neighbourhood is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64, Int64, Num

from anysize.core.errors import AnysizeError

_SCORES_AT_ONCE = 1 << 25  # 128 MB of float32
_SPARE = 16
_ROUNDING = 2.0**-24
_PLAIN = (1e-30, 1e30)  # lengths whose reciprocals and products float32 holds


def rank(
    queries: Num[np.ndarray, "..."], documents: Num[np.ndarray, "..."], k: int
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """
    The k documents of largest inner product: (q, k) positions and (q, k) float32 scores, best first.

    `queries` is (q, d), `documents` (n, d); k is cut to n. Every document is scored, a batch of queries at a time. Of
    equal scores the earlier document comes first, also at the last place, so that a ranking can be repeated: a matrix
    product rounds equal documents differently, so those that it cannot tell apart are summed again in float64.
    Raises `AnysizeError` if the widths differ, k is below 1, there are no documents, or a score is no number or
    infinite.
    """
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1]:
        raise AnysizeError(f"queries {queries.shape} and documents {documents.shape} need rows of one width")
    queries, documents = _float32(queries), _float32(documents)
    _check_count(k, len(documents))
    more = min(len(documents), 2 * k + _SPARE)
    found, scores = rank_by(lambda rows: queries[rows] @ documents.T, len(queries), len(documents), more)
    lengths = _lengths(documents)
    slack = 2 * (queries.shape[1] + 8) * _ROUNDING * _lengths(queries) * lengths.max()  # (q,)
    k = min(k, len(documents))
    for row, (query, spare) in enumerate(zip(queries, slack, strict=True)):
        near = scores[row] >= scores[row, k - 1] - spare  # (more,)
        if near.all() and more < len(documents):  # what the bound cannot tell apart goes on past them
            near = np.flatnonzero(documents @ query >= scores[row, k - 1] - spare)
        else:
            near = np.sort(found[row, near])
        exact = np.einsum("nd,d->n", documents[near].astype(np.float64), query.astype(np.float64))
        best = np.argsort(-exact, kind="stable")[:k]
        found[row, :k], scores[row, :k] = near[best], exact[best]
    return found[:, :k], scores[:, :k]


def rank_by(
    score: Callable[[slice], np.ndarray], queries: int, documents: int, k: int
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """
    As `rank`, with any scores: `score` gives those of a slice of the queries, float32 (batch, documents).

    Raises `AnysizeError` if k is below 1, there are no documents, or a score is no number or infinite.
    """
    _check_count(k, documents)
    k = min(k, documents)
    indices = np.empty((queries, k), dtype=np.int64)
    scores = np.empty((queries, k), dtype=np.float32)
    step = max(1, _SCORES_AT_ONCE // documents)
    for start in range(0, queries, step):
        rows = slice(start, min(start + step, queries))
        with np.errstate(over="ignore", invalid="ignore"):
            found = score(rows)  # (batch, n)
        indices[rows] = _best(found, k)
        scores[rows] = np.take_along_axis(found, indices[rows], axis=1)
        wrong = ~np.isfinite(scores[rows]).all(axis=1)  # NumPy sorts NaN as the largest, so none is left out unseen
        if wrong.any():
            raise AnysizeError(
                f"query {start + int(np.argmax(wrong))} (from 0) has scores that are not finite numbers; "
                "remove or repair NaN and infinite values, and scale down what is too large"
            )
    return indices, scores


def unit(vectors: Num[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Rows scaled to length 1, float32, whatever their magnitude; a row of zeros stays zeros."""
    rows = _float32(vectors)
    lengths = _lengths(rows)[:, None]
    if (plain := (lengths > _PLAIN[0]) & (lengths < _PLAIN[1])).all():
        return rows / lengths.astype(np.float32)
    scaled = rows / np.where(plain, lengths, 1).astype(np.float32)
    odd = ~plain[:, 0]
    scaled[odd] = directions(np.asarray(vectors)[odd])
    return scaled


def directions(vectors: Num[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Rows scaled to length 1 in float64, whatever their magnitude; a row of zeros stays zeros."""
    rows = np.asarray(vectors, np.float64)
    largest_value = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    rows = np.divide(rows, largest_value, out=np.zeros_like(rows), where=largest_value > 0)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=rows, where=lengths > 0)


def largest(scores: Num[np.ndarray, " n"], keep: int) -> Int64[np.ndarray, " m"]:
    """Ascending positions of the `keep` largest scores; of equal ones the earlier. All, if there are fewer."""
    if keep >= len(scores):
        return np.arange(len(scores))
    # Negated: NumPy takes 20 times longer to find a place past a run of equal scores, which zeros often are.
    last = -np.partition(-scores, keep - 1)[keep - 1]
    above, equal = np.flatnonzero(scores > last), np.flatnonzero(scores == last)
    return np.sort(np.concatenate([above, equal[: keep - len(above)]]))


def _lengths(rows: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    return np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))


def _check_count(k: int, documents: int) -> None:
    if k < 1 or not documents:
        raise AnysizeError(f"cannot rank the best {k} of {documents} documents; expected at least 1 of 1")


def _best(scores: Float32[np.ndarray, "batch n"], k: int) -> Int64[np.ndarray, "batch {k}"]:
    """Positions of the largest scores of each row; equal scores in order of position."""
    n = scores.shape[1]
    found = np.argpartition(scores, n - k, axis=1)[:, n - k :] if k < n else np.tile(np.arange(n), (len(scores), 1))
    last = np.take_along_axis(scores, found, axis=1).min(axis=1, keepdims=True)
    tied = np.flatnonzero((scores >= last).sum(axis=1) > k)
    for row in tied:  # more documents share the last score than there is room for: the earliest of them stay
        above, equal = np.flatnonzero(scores[row] > last[row]), np.flatnonzero(scores[row] == last[row])
        found[row] = np.concatenate([above, equal[: k - len(above)]])
    found = np.sort(found, axis=1)
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def _float32(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors, dtype=np.float32)
