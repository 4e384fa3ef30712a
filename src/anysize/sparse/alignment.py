"""
CKNNA: how alike two representations arrange each item's neighbours (Huh et al. 2024, arXiv 2405.07987, appendix A).

``CKNNA(K, L) = HSIC(mK, mL) / sqrt(HSIC(mK, mK) HSIC(mL, mL))`` of the inner products ``K = A A^T`` and ``L = B B^T``,
where a mask keeps each row's k nearest others. The masked matrices have k entries a row, so that past the search for
neighbours everything is sums over n k entries; public code forms products of n x n matrices, in O(n^3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anysize.core.arguments import FINITE_ROWS, takes, whole
from anysize.core.errors import DataError
from anysize.core.neighbours import rank

_EPS = 1e-6  # as public code has it, so that values agree


@takes(a=FINITE_ROWS, b=FINITE_ROWS, k=whole())
def cknna(a: np.ndarray, b: np.ndarray, k: int = 10) -> float:
    """
    The alignment of representations (n, d) and (n, e) of the same n items; it depends on n, so compare at equal n.

    Raises `DataError` if the counts differ, or there are not four rows more than neighbours.
    """
    if len(a) != len(b) or len(a) < k + 4:
        raise DataError(f"{len(a)} and {len(b)} rows; expected as many in both, and at least {k + 4} for k={k}")
    here, there = (np.asarray(part, np.float64) for part in (a, b))
    near_a, near_b = _near(here, k), _near(there, k)
    both = near_a.multiply(near_b)
    cross = _hsic(_products(here, both), _products(there, both))
    own = [_hsic(products, products) for products in (_products(here, near_a), _products(there, near_b))]
    return float(cross / (np.sqrt(max(own[0], 0.0) * max(own[1], 0.0)) + _EPS))


def _near(rows: np.ndarray, k: int) -> Any:
    """Each row's k nearest others by inner product, as a sparse (n, n) of ones."""
    from scipy.sparse import csr_array

    found, _ = rank(rows, rows, k + 1)  # (n, k + 1), perhaps with the row itself
    own = np.argsort(found == np.arange(len(rows))[:, None], axis=1, kind="stable")
    kept = np.take_along_axis(found, own, axis=1)[:, :k]
    return csr_array((np.ones(kept.size), kept.ravel(), np.arange(0, kept.size + 1, k)), shape=(len(rows), len(rows)))


def _products(rows: np.ndarray, mask: Any) -> Any:
    """The inner products of rows at the places of a mask."""
    held = mask.tocoo()
    from scipy.sparse import csr_array

    values = np.einsum("ed,ed->e", rows[held.row], rows[held.col])
    return csr_array((values, (held.row, held.col)), shape=mask.shape)


def _hsic(k: Any, other: Any) -> float:
    """The unbiased estimate of HSIC (Song et al. 2012, equation 5), for matrices whose diagonals are zero."""
    n = k.shape[0]
    trace = k.multiply(other.T).sum()
    # The sum over all entries of k @ other is the column sums of the one times the row sums of the other.
    sums = np.asarray(k.sum(axis=0)).ravel() @ np.asarray(other.sum(axis=1)).ravel()
    total = trace + k.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 * sums / (n - 2)
    return float(total / (n * (n - 3)))
