"""
Representational similarity analysis (Kriegeskorte et al. 2008): do two representations find the same items alike?

Progressive coding (Peter and Sogaard 2025, arXiv 2505.00190) compares granularities by it. The dissimilarities of n
items are cosine distances; RSA is the rank correlation of the two upper triangles.
"""

from __future__ import annotations

import numpy as np

from anysize.core.arguments import FINITE_ROWS, takes, whole
from anysize.core.correlation import spearman
from anysize.core.errors import DataError
from anysize.core.neighbours import unit


@takes(a=FINITE_ROWS, b=FINITE_ROWS, n=whole(3), resamples=whole())
def rsa(a: np.ndarray, b: np.ndarray, *, n: int = 1000, resamples: int = 5, seed: int = 0) -> list[float]:
    """
    The correlation for each of several samples of n rows, of representations (rows, d) and (rows, e) of the same items.

    It is 0 where one of them finds all items equally unlike. Raises `DataError` if the counts differ or
    there are fewer than three rows.
    """
    if len(a) != len(b) or len(a) < 3:
        raise DataError(f"{len(a)} and {len(b)} rows; expected as many in both, and at least three")
    rng, found = np.random.default_rng(seed), []
    for _ in range(resamples):
        rows = rng.choice(len(a), min(n, len(a)), replace=False)
        upper = np.triu_indices(len(rows), 1)
        distances = [1 - (unit(part[rows]) @ unit(part[rows]).T)[upper] for part in (np.asarray(a), np.asarray(b))]
        varies = all(np.ptp(part) > 1e-6 for part in distances)
        found.append(spearman(*distances) if varies else 0.0)
    return found
