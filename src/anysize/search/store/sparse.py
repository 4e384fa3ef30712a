"""
Sparse codes of a segment as inverted lists, scored exactly (CSR, Wen et al. 2025, section 3.3: sparse retrieval).

For each latent the rows in which it is active and its values there. A query's score over all rows is the sum of its
own latents' lists, each times the query's value: the other latents are never touched. Codes are kept at unit length
where the index's metric is the cosine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.evaluation.nearest import largest

if TYPE_CHECKING:
    from anysize.search.asking.stages import Sparse

LISTS = ROWS, VALUES, OFFSETS = "codes.rows", "codes.values", "codes.offsets"


def codes_of(model: Any, vectors: np.ndarray) -> Any:
    """The codes of vectors (n, d) by a sparse model, a ``csr_array`` (n, latents) of finite float32."""
    codes = model.encode(vectors).to_scipy()
    if codes.shape[0] != len(vectors) or not np.isfinite(codes.data).all():
        raise DataError(f"the model made {codes.shape[0]} codes of {len(vectors)} items, or codes that are not finite")
    return codes.astype(np.float32)


def prepared(codes: Any, metric: str) -> Any:
    """Codes (n, latents) as they are scored: of unit length for the cosine. A row of zeros stays one."""
    if metric != "cosine":
        return codes
    wide = codes.astype(np.float64)  # squares of float32 values are no float32 values
    lengths = np.sqrt(np.asarray(wide.multiply(wide).sum(axis=1)).ravel())  # (n,)
    wide.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(codes.indptr))
    return wide.astype(np.float32)


def strongest(code: Any, active: int) -> Any:
    """The `active` largest values of one code (1, latents), in the order of the latents."""
    if code.nnz <= active:
        return code
    from scipy.sparse import csr_array

    kept = np.sort(np.argsort(-code.data, kind="stable")[:active])
    return csr_array((code.data[kept], code.indices[kept], [0, active]), shape=code.shape)


def inverted(codes: Any) -> dict[str, np.ndarray]:
    """File name -> content: the lists of codes (n, latents). Rows in a list ascend."""
    lists = codes.tocsc()
    lists.sort_indices()
    contents = (lists.indices.astype(np.int32), lists.data.astype(np.float32), lists.indptr.astype(np.int64))
    return dict(zip((ROWS, VALUES, OFFSETS), contents, strict=True))


class Lists:
    """The inverted lists of one segment, mapped from its files."""

    def __init__(self, maps: dict[str, np.ndarray], rows: int, latents: int) -> None:
        self._rows, self._values = maps[ROWS].view(np.int32), maps[VALUES].view(np.float32)
        self._offsets = maps[OFFSETS].view(np.int64)
        self._shape = (rows, latents)
        # SciPy adds into memory at these numbers without looking.
        entries = len(self._rows)
        inside = not entries or (self._rows.min() >= 0 and self._rows.max() < rows)
        if not inside or self._offsets[0] != 0 or self._offsets[-1] != entries or (np.diff(self._offsets) < 0).any():
            raise CheckpointError("the sparse codes of this index name rows that are not there; build it again")

    def scores(self, code: Any) -> tuple[np.ndarray, int]:
        """Scores float64 (rows,) of every row for one prepared code (1, latents), and how many entries were touched."""
        from scipy.sparse import csc_array

        starts, stops = self._offsets[code.indices], self._offsets[code.indices + 1]
        # Only the query's lists are handed over: the product then runs through all that it is given.
        spans = [slice(*span) for span in zip(starts.tolist(), stops.tolist(), strict=True)]
        offsets = np.concatenate([[0], np.cumsum(stops - starts)])
        if not spans or not offsets[-1]:
            return np.zeros(self._shape[0]), 0
        rows = np.concatenate([self._rows[span] for span in spans])
        values = np.concatenate([self._values[span] for span in spans], dtype=np.float64)
        lists = csc_array((values, rows, offsets.astype(np.int32)), shape=(self._shape[0], len(spans)))
        return lists @ code.data.astype(np.float64), int(offsets[-1])

    def best(self, code: Any, deleted: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray, int]:
        """
        The `keep` best rows for one prepared code (1, latents), ascending, their scores, and the entries touched.

        Of equal scores the earlier rows; never one of `deleted`.
        """
        scores, touched = self.scores(code)
        scores[deleted] = -np.inf
        rows = largest(scores, keep)
        rows = rows[scores[rows] > -np.inf]
        return rows, scores[rows], touched

    def codes(self) -> Any:
        """All codes, a ``csr_array`` (rows, latents), as they were prepared."""
        from scipy.sparse import csc_array

        return csc_array((self._values, self._rows, self._offsets.astype(np.int32)), shape=self._shape).tocsr()


def check_code(code: Any, sparse: Sparse) -> None:
    """Raise `AnysizeError` if a query's code is over other latents, or is empty and so scores nothing."""
    if code.shape[1] != sparse.latents:
        raise AnysizeError(f"a code over {code.shape[1]} latents for an index of {sparse.latents}; use the same model")
    if not code.nnz or not code.data.any():
        raise DataError("no latent is active for this query, so it has no sparse score; search with a dense stage")
