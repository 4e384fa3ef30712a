"""
How well scores agree with people's: Pearson's r, Spearman's rho with average ranks, and a paired bootstrap.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13, for the percentile interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anysize.core.errors import DataError
from anysize.core.ranks import average_ranks

Values = npt.ArrayLike
Correlation = Callable[[Values, Values], float]


def pearson(a: Values, b: Values) -> float:
    """
    Pearson's correlation of two lists of n numbers.

    Raises `DataError` if they differ in length, hold what is not finite, or one of them does not vary: then there is
    no correlation.
    """
    x, y = _checked(a, b)
    x, y = x - x.mean(), y - y.mean()
    # Divided by the largest first, so that no square is too small or too large for a float64.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def spearman(a: Values, b: Values) -> float:
    """Spearman's correlation: Pearson's of the ranks, equal values sharing their average rank. Raises as `pearson`."""
    x, y = _checked(a, b)
    return pearson(average_ranks(x), average_ranks(y))


class Interval(NamedTuple):
    """A difference of two systems with its confidence interval."""

    difference: float
    """The first system's correlation minus the second's, on all pairs."""
    low: float
    high: float


def paired_bootstrap(
    first: Values,
    second: Values,
    gold: Values,
    *,
    correlation: Correlation = spearman,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """
    How much better the first system's scores agree with `gold` than the second's, with a percentile interval.

    All three hold one number for each of the same n pairs. Each resample draws n pairs with replacement, the same
    ones for both systems, so what makes a pair hard for both cancels out. A draw in which a correlation does not
    exist is drawn again. Raises `DataError` as `pearson` does, and if there is nothing to resample.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise DataError(f"a bootstrap needs resamples and a confidence below 1; got {resamples} and {confidence}")
    x, z = _checked(first, gold)
    y, _ = _checked(second, gold)
    whole = correlation(x, z) - correlation(y, z)
    rng = np.random.default_rng(seed)
    differences: list[float] = []
    while len(differences) < resamples:
        drawn = rng.integers(len(z), size=len(z))
        if all(np.ptp(column[drawn]) > 0 for column in (x, y, z)):
            differences.append(correlation(x[drawn], z[drawn]) - correlation(y[drawn], z[drawn]))
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(whole, float(low), float(high))


def _checked(a: Values, b: Values) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"a correlation needs two lists of the same length; got shapes {x.shape} and {y.shape}")
    for values in (x, y):
        if not np.isfinite(values).all():
            raise DataError("a correlation needs finite numbers; got NaN or infinite ones")
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise DataError(
            f"there is no correlation of {len(x)} pairs if one side does not vary; give at least two pairs whose "
            "scores differ"
        )
    return x, y
