"""One arm at one size: what it achieves, how sure that is, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from anysize.core.arguments import shown
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.sizes.size import Size

Span = tuple[float, float]
"""The low and the high end of an interval."""


LOWER = frozenset({"l0", "misses", "feedback_bits", "slots", "wer", "cer", "real_time_factor", "nll"})
"""
Metrics that are better when they are lower, also of a part (``wer_CORPUS``), and losses of any kind (``nll``,
``text_nll_change``); of every other more is better.
"""

_RENAMED = {"-l0": "l0", "explained_variance": "variance_explained"}
"""What an earlier version wrote -> what it is called; a name that began with a minus held the negative of its value."""


def goodness(metric: str, value: float) -> float:
    """The value, or its negative where lower is better, so that more is better."""
    return -value if is_lower(metric) else value


def is_lower(metric: str) -> bool:
    """Whether lower values of it are better."""
    return metric in LOWER or metric.partition("_")[0] in LOWER or "nll" in metric.split("_")


def renamed(metric: str) -> str:
    """The name of a metric, which an earlier version may have called otherwise."""
    return _RENAMED.get(metric, metric)


@dataclass(frozen=True)
class Record:
    """
    One arm at one size: what it achieves and what it costs.

    Raises `AnysizeError` if there is no metric, or one is not a finite number.
    """

    size: Size
    arm: str
    metrics: dict[str, float]
    """Metric name -> value (the mean, where there are several seeds); higher is better, but for those in `LOWER`."""
    bytes: int
    """Bytes stored per item."""
    ms: float | None = None
    """Measured milliseconds per query, on one thread: what the fastest tenth of the calls takes at most."""
    parameters: int | None = None
    flops: int | None = None
    """Floating-point operations per item."""
    spread: dict[str, float] = field(default_factory=dict)
    """Metric name -> standard deviation over seeds."""
    ms_spread: float | None = None
    """Between which quarter and which three quarters of the timed calls lie, in milliseconds apart."""
    ms_interval: Span | None = None
    """The 95 % interval of `ms`."""
    ms_median: float | None = None
    """The median of the timed calls, in milliseconds."""
    encoding_ms: float | None = None
    """Milliseconds that encoding the query's text takes on top of `ms`, where that is the same at every size."""
    intervals: dict[str, Span] = field(default_factory=dict)
    """Metric name -> its 95 % interval by a bootstrap over the queries, pairs or rows that were measured."""
    differences: dict[str, dict[str, Span]] = field(default_factory=dict)
    """Metric name -> another record as ``arm size`` -> the paired 95 % interval of this value minus that one."""
    quantiles: dict[str, list[float]] = field(default_factory=dict)
    """Metric -> its values over what was measured at equal steps of rank, least first, where a page draws them."""
    units: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)
    """Metric name -> a value for each query, pair or row, whose mean is the metric: for the bootstrap, never stored."""

    def __post_init__(self) -> None:
        if not self.metrics:
            raise AnysizeError(f"the record of {self.arm} at {self.size} holds no metric")
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise AnysizeError(f"{name} of {self.arm} at {self.size} is {value}; expected a finite number")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; what is not known is left out, except `ms`, which is null."""
        known = {
            "parameters": self.parameters,
            "flops": self.flops,
            "spread": dict(self.spread) or None,
            "ms_spread": self.ms_spread,
            "ms_interval": None if self.ms_interval is None else list(self.ms_interval),
            "ms_median": self.ms_median,
            "encoding_ms": self.encoding_ms,
            "intervals": {name: list(span) for name, span in self.intervals.items()} or None,
            "differences": {
                name: {other: list(span) for other, span in found.items()} for name, found in self.differences.items()
            }
            or None,
            "quantiles": self.quantiles or None,
        }
        fixed = {"size": self.size.to_json(), "arm": self.arm, "metrics": dict(self.metrics)}
        costs = {"bytes": self.bytes, "ms": self.ms}
        return {**fixed, **costs, **{name: value for name, value in known.items() if value is not None}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Record:
        """
        The inverse of `to_json`; what an earlier version did not write is left empty.

        Raises `CheckpointError` if it is not a record.
        """
        known = [field.name for field in fields(cls) if field.name != "units"]
        if not isinstance(value, Mapping) or not {"size", "arm", "metrics", "bytes"} <= value.keys() <= {*known}:
            raise CheckpointError(f"{shown(value)} is not a record of a frontier; expected {', '.join(known)}")
        given = {**value, "size": Size(value["size"])}
        given["metrics"] = {renamed(name): -one if name == "-l0" else one for name, one in value["metrics"].items()}
        if "intervals" in given:
            given["intervals"] = {renamed(name): _span(span, name) for name, span in given["intervals"].items()}
        if "differences" in given:
            given["differences"] = {
                renamed(name): {other: _span(span, name) for other, span in found.items()}
                for name, found in given["differences"].items()
            }
        if given.get("ms_interval") is not None:
            given["ms_interval"] = _span(given["ms_interval"], "ms")
        if "quantiles" in given:
            given["quantiles"] = {name: [*map(float, found)] for name, found in given["quantiles"].items()}
        made = cls(**given)
        costs = {"bytes": made.bytes, "ms": made.ms, "parameters": made.parameters, "flops": made.flops}
        for name, cost in costs.items():
            if cost is None and name != "bytes":
                continue
            if cost is None or type(cost) not in (int, float) or not 0 <= cost < math.inf:
                raise CheckpointError(f"{name} of {made.arm} at {made.size} is {cost!r}")
        return made

    def same_within_noise(self, other: Record, metric: str) -> bool:
        """Whether the paired interval of the difference from `other` is known and holds 0."""
        span = self.differences.get(metric, {}).get(f"{other.arm} {other.size}")
        return span is not None and span[0] <= 0 <= span[1]

    def as_fast_as(self, other: Record) -> bool:
        """
        Whether the times of two records cannot be told apart: their intervals overlap.

        Of an earlier version's, which have none: they differ by less than the calls of one of them do.
        """
        if self.ms is None or other.ms is None:
            return False
        if self.ms_interval is not None and other.ms_interval is not None:
            return self.ms_interval[0] <= other.ms_interval[1] and other.ms_interval[0] <= self.ms_interval[1]
        return abs(self.ms - other.ms) < max(self.ms_spread or 0.0, other.ms_spread or 0.0)


def _span(value: Any, metric: str) -> Span:
    low, high = map(float, value)
    return (-high, -low) if metric == "-l0" else (low, high)
