"""
How far a figure may be off by the choice of queries (pairs, rows) that it was measured on: a bootstrap over these.

Efron and Tibshirani, An Introduction to the Bootstrap (1993): percentile intervals (chapter 13) of means; a figure that
is no mean (a correlation, a ratio) comes as pseudo-values (chapter 11), whose mean it is. All arms and sizes are
resampled alike, so that a difference of two has an interval of its own (paired), far narrower than theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from anysize.core.frontier.record import Record, Span
from anysize.core.frontier.records import NESTED, ORIGINAL, Records
from anysize.core.ranks import average_ranks

if TYPE_CHECKING:
    from anysize.core.frontier.record import Record

RESAMPLES, CONFIDENCE = 1000, 0.95
FEW = 50
"""Below so many units no interval can be trusted, and readers are warned."""
_GROUPS = 2048  # of more units the means of random groups are drawn: their mean spreads as widely


def resampled_means(units: Float[np.ndarray, "n m"], *, seed: int = 0) -> Float[np.ndarray, "resamples m"]:
    """The means of m columns in every resample of the n rows; the same rows for all columns."""
    rng = np.random.default_rng(seed)
    units = np.asarray(units, np.float64)
    if len(units) > _GROUPS:
        group = rng.permutation(len(units)) % _GROUPS
        sums = np.zeros((_GROUPS, units.shape[1]))
        np.add.at(sums, group, units)
        units = sums * (_GROUPS / len(units))
    drawn = rng.integers(len(units), size=(RESAMPLES, len(units)))
    drawn += len(units) * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=RESAMPLES * len(units)).reshape(RESAMPLES, -1)
    return counts @ units / len(units)


def span(means: Float[np.ndarray, " resamples"]) -> Span:
    """The percentile interval of resampled means."""
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def with_intervals(records: Sequence[Record]) -> tuple[Record, ...]:
    """
    The records with an interval for each metric of which `Record.units` gives the values, which are then let go.

    Beside it stand paired intervals of the difference from the same arm's largest size, from the nested arm at the same
    size, and from the largest size of every other arm that ends there (`Record.differences`).
    """
    frontier = Records(tuple(records), next(iter(records[0].metrics)))
    largest = {arm: frontier.full(arm) for arm in frontier.arms}
    intervals: dict[int, dict[str, Span]] = {row: {} for row in range(len(records))}
    differences: dict[int, dict[str, dict[str, Span]]] = {row: {} for row in range(len(records))}
    place = {(record.arm, record.size): row for row, record in enumerate(records)}
    for metric in dict.fromkeys(name for record in records for name in record.units):
        having = [row for row, record in enumerate(records) if metric in record.units]
        found = resampled_means(np.stack([records[row].units[metric] for row in having], axis=1))
        means = dict(zip(having, found.T, strict=True))
        for row in having:
            record = records[row]
            intervals[row][metric] = span(means[row])
            against = [largest[record.arm], *([largest[ORIGINAL]] if ORIGINAL in largest else [])]
            same = place.get((NESTED, record.size))
            against += [] if same is None else [records[same]]
            others = {place[other.arm, other.size]: f"{other.arm} {other.size}" for other in against}
            differences[row][metric] = {
                name: span(means[row] - means[other])
                for other, name in others.items()
                if other in means and other != row
            }
    return tuple(
        replace(record, units={}, intervals=intervals[row], differences=differences[row])
        for row, record in enumerate(records)
    )


def count_of(records: Sequence[Record]) -> int | None:
    """How many queries, pairs or rows stand behind the records; None where none says so."""
    return max((len(values) for record in records for values in record.units.values()), default=None)


def decimals(low: float, high: float) -> int:
    """Decimals that tell an interval's half width to two digits: more of the figure means nothing."""
    half = (high - low) / 2
    return 3 if not half > 0 else int(np.clip(1 - np.floor(np.log10(half)), 1, 4))


def correlation_pseudo_values(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """
    Values, one a pair, whose mean is Pearson's correlation of x and y and whose spread is its own.

    The correlation and each pair's influence on it (Devlin, Gnanadesikan and Kettenring 1975):
    u v - r (u^2 + v^2) / 2 for standardised u and v.
    """
    u, v = ((values - values.mean()) / values.std() for values in (np.asarray(x, float), np.asarray(y, float)))
    r = float((u * v).mean())
    return r + u * v - r * (u * u + v * v) / 2


def rank_correlation_pseudo_values(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """
    As `correlation_pseudo_values` of Spearman's correlation.

    A pair has influence by its own ranks, and by moving the ranks of all that lie above it.
    """
    ranks = [average_ranks(values) for values in (x, y)]
    u, v = ((rank - rank.mean()) / rank.std() for rank in ranks)
    r = float((u * v).mean())
    moved = []
    for mine, rank, other in ((u, ranks[0], v), (v, ranks[1], u)):
        # The mean over all pairs of (mine lies below theirs) * (their other side - what the ranks explain of it).
        left = other - r * mine
        order = np.argsort(rank, kind="stable")
        below = np.concatenate([[0.0], np.cumsum(left[order])])
        first, last = (np.searchsorted(rank[order], rank, side=side) for side in ("left", "right"))
        above = (below[-1] - (below[first] + below[last]) / 2) / len(rank)
        moved.append((above - above.mean()) * len(rank) / rank.std())
    return r + (u * v - r * (u * u + v * v) / 2) + moved[0] + moved[1]
