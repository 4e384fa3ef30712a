"""
The records of a frontier: quality and cost at every size, beside reference arms, and the choice of a size from them.

A metric is better when it is higher, unless `anysize.core.frontier.record.LOWER` names it; store the negative of any
other that is not (a perplexity, an error).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from anysize.core.arguments import TEXT, instance, number, one_of, takes
from anysize.core.errors import AnysizeError
from anysize.core.frontier.record import Record, goodness, is_lower
from anysize.core.frontier.tolerance import Decibels, lowest
from anysize.core.sizes.size import Size

NESTED, ORIGINAL = "nested", "original"
COSTS = ("bytes", "ms", "parameters", "flops")
TOLERANCE = instance(Decibels, words="so many Decibels") | number(0)


@dataclass(frozen=True)
class Records:
    """
    Records of one data set: the nested arm, and whatever it is compared with.

    Raises `AnysizeError` if there are no records, if one lacks the main metric, or if an arm names a size twice.
    """

    records: tuple[Record, ...]
    metric: str
    """The main metric, for example ``ndcg@10``."""
    meta: dict[str, Any] = field(default_factory=dict)
    """What was measured, on what: shown as the caption of plots and pages."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(self.records))
        if not self.records:
            raise AnysizeError("a frontier needs at least one record")
        seen = set()
        for record in self.records:
            _value(record, self.metric)
            if (record.arm, record.size) in seen:
                raise AnysizeError(f"two records of {record.arm} at {record.size}; a size appears once in an arm")
            seen.add((record.arm, record.size))

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, nested first and original last, the others in the order in which they were given."""
        rank = {NESTED: -1, ORIGINAL: 1}
        return tuple(sorted(dict.fromkeys(record.arm for record in self.records), key=lambda arm: rank.get(arm, 0)))

    @takes(name=TEXT)
    def arm(self, name: str) -> tuple[Record, ...]:
        """One arm's records, cheapest first. Raises `AnysizeError`, naming the arms there are."""
        found = tuple(sorted((record for record in self.records if record.arm == name), key=cheapness))
        if not found:
            raise AnysizeError(f"this frontier has no arm {name!r}; it has {', '.join(self.arms)}")
        return found

    def full(self, arm: str = NESTED) -> Record:
        """The arm's record at its full size: the one that contains the others, else the dearest."""
        records = self.arm(arm)
        whole = [record for record in records if all(other.size <= record.size for other in records)]
        return whole[0] if whole else records[-1]

    @takes(arm=TEXT, cost=one_of(COSTS))
    def pareto(self, arm: str = NESTED, cost: str = "bytes") -> tuple[Record, ...]:
        """
        The arm's records that no other beats: cheapest first, each better than all before it.

        `cost` is ``bytes``, ``ms``, ``parameters`` or ``flops``; `AnysizeError` if a record does not know it.
        """
        kept: list[Record] = []
        for record in sorted(self.arm(arm), key=lambda one: (_cost(one, cost), -_goodness(one, self.metric))):
            if not kept or _goodness(record, self.metric) > _goodness(kept[-1], self.metric):
                kept.append(record)
        return tuple(kept)

    @takes(arm=TEXT, cost=one_of(COSTS), metric=TEXT)
    def area(self, arm: str = NESTED, cost: str = "bytes", metric: str | None = None) -> float:
        """
        One number for an arm's whole curve: the share of the full size's quality that its sizes keep on average.

        With ``x`` the binary logarithm of the cost and ``v(x)`` the best value at no more than that cost, linear in
        between, it is the area under the curve over that under a constant::

            sum over neighbours of (x[i+1] - x[i]) * (v[i] + v[i+1]) / 2  /  ((x[n] - x[1]) * V)

        ``V`` is the value at the full size of the nested arm (of the arm itself, if there is none), so that arms which
        span the same costs can be compared by it; 1 is an arm that loses nothing at any of its sizes. Raises
        `AnysizeError` if a record does not know the cost, all cost the same, or ``V`` is not above zero or a metric
        whose lower values are better.
        """
        metric = metric or self.metric
        whole = self.full(NESTED if NESTED in self.arms else arm)
        if not _value(whole, metric) > 0 or is_lower(metric):
            raise AnysizeError(f"{metric} is {_value(whole, metric):.4g} at {whole.size}, so nothing is a share of it")
        best: dict[float, float] = {}
        for record in sorted(self.arm(arm), key=lambda one: _cost(one, cost)):
            here, before = _cost(record, cost), max(best.values(), default=-math.inf)
            best[here] = max(before, _value(record, metric))
        if len(best) < 2 or min(best) <= 0:
            raise AnysizeError(f"the sizes of {arm} do not differ in {cost}, so there is no curve over it")
        points = [(math.log2(here), value) for here, value in best.items()]
        under = sum((x - w) * (u + v) / 2 for (w, u), (x, v) in pairwise(points))
        return under / ((points[-1][0] - points[0][0]) * _value(whole, metric))

    @takes(
        within=TOLERANCE,
        as_good_as=TEXT,
        max_bytes=number(above=0),
        max_ms=number(above=0),
        metric=TEXT,
        arm=TEXT,
    )
    def cheapest(
        self,
        within: float | None = None,
        as_good_as: str | None = None,
        max_bytes: int | None = None,
        max_ms: float | None = None,
        metric: str | None = None,
        arm: str = NESTED,
    ) -> Record:
        """
        The record to use under the given demands, which combine.

        `within=0.01` asks for at least (1 - 0.01) of the arm's value at its full size, and ``within=Decibels(0.5)`` for
        no more than 0.5 below it, of a metric in dB; `as_good_as="original"` for
        at least that arm's value at its full size. With either, the cheapest record that meets every demand is
        returned (fewest bytes; ties by FLOPs, parameters, then milliseconds). With budgets alone, `max_bytes` per item
        and `max_ms` per query, it is the best record that fits them. `metric` is the frontier's own unless given.

        Raises `AnysizeError` if nothing is demanded, or if no record meets the demands; then it names the nearest.
        """
        metric = metric or self.metric
        if within is None and as_good_as is None and max_bytes is None and max_ms is None:
            raise AnysizeError("say what to choose by: within, as_good_as, max_bytes or max_ms")
        floor = -math.inf
        if within is not None:
            floor = lowest(_goodness(self.full(arm), metric), within, metric)
        if as_good_as is not None:
            floor = max(floor, _goodness(self.full(as_good_as), metric))
        fits = self._in_budget(arm, max_bytes, max_ms)
        good = [record for record in fits if _goodness(record, metric) >= floor]
        if not good:
            near = max(fits, key=lambda record: _goodness(record, metric))
            which = f"{arm} size that fits the budget" if len(fits) < len(self.arm(arm)) else f"{arm} size"
            raise AnysizeError(
                f"no {which} reaches {metric} {goodness(metric, floor):.4g}; "
                f"the nearest is {near.size} with {_value(near, metric):.4g} at {near.bytes} bytes"
            )
        if floor > -math.inf:
            return min(good, key=cheapness)
        best = max(_goodness(record, metric) for record in good)
        return min((record for record in good if _goodness(record, metric) == best), key=cheapness)

    def _in_budget(self, arm: str, max_bytes: int | None, max_ms: float | None) -> list[Record]:
        """The arm's records that cost no more than both limits; `AnysizeError`, naming the nearest, if none does."""
        fits = list(self.arm(arm))
        for limit, cost, unit in ((max_bytes, "bytes", "bytes"), (max_ms, "ms", "ms per query")):
            if limit is None:
                continue
            left = [record for record in fits if _cost(record, cost) <= limit]
            if not left:
                near = min(fits, key=lambda record: _cost(record, cost))
                raise AnysizeError(
                    f"no {arm} size {'of those left ' if len(fits) < len(self.arm(arm)) else ''}costs {limit:g} {unit} "
                    f"or less; the nearest is {near.size} with {_cost(near, cost):g}"
                )
            fits = left
        return fits


def by_size(records: Iterable[Record]) -> tuple[Size, ...]:
    """The distinct sizes of some records, cheapest first, by the nested arm's cost where it has that size."""
    costs: dict[Size, tuple[float, ...]] = {}
    for record in sorted(records, key=lambda record: (record.arm != NESTED, cheapness(record))):
        costs.setdefault(record.size, cheapness(record))
    return tuple(sorted(costs, key=lambda size: costs[size]))


def cheapness(record: Record) -> tuple[float, ...]:
    """The order of records by cost: bytes, then FLOPs, parameters, milliseconds, and at last the size's own values."""
    unknown = (record.flops or 0, record.parameters or 0, *record.size.values())
    return (record.bytes, *unknown, record.ms or 0.0)


def _value(record: Record, metric: str) -> float:
    if metric not in record.metrics:
        raise AnysizeError(
            f"{record.arm} at {record.size} has no metric {metric!r}; it has {', '.join(record.metrics)}"
        )
    return record.metrics[metric]


def _goodness(record: Record, metric: str) -> float:
    return goodness(metric, _value(record, metric))


def _cost(record: Record, cost: str) -> float:
    value = getattr(record, cost)
    if value is None:
        raise AnysizeError(f"the {cost} of {record.arm} at {record.size} was not measured, so it cannot be compared")
    return float(value)
