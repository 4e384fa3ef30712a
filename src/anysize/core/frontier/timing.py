"""
Times that can be compared: all sizes in turn, round after round, on one thread, with how sure they are.

Whatever else the machine does only ever adds to a time, so the tenth of the rounds that are fastest says what a call
takes, and two measurements agree on it; the median, which does not, is kept beside.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.model.cost import wait_for_gpu

if TYPE_CHECKING:
    from anysize.core.frontier.record import Record, Span

QUANTILE = 0.1
LEAST, MOST, SECONDS = 15, 300, 20.0
"""Rounds, and how long so many may take: three are made whatever they take."""
STABLE, MORE = 0.03, 1.0
"""Beyond the least, rounds go on until every interval is this narrow (half of it, as a share), or for so long."""
_CONFIDENCE = 1.96
_TIMED = 1 << 23  # values of all sizes' documents that are held to be timed: 32 MB


@dataclass(frozen=True)
class Timing:
    """What calls of one kind took, in milliseconds."""

    ms: float
    """A tenth of them took less."""
    interval: Span
    """Its 95 % interval, from the order of the calls' times."""
    median: float
    spread: float
    """The range of their middle half."""

    @classmethod
    def of(cls, times: np.ndarray) -> Timing:
        """From the times of all rounds."""
        ordered, n = np.sort(times), len(times)
        apart = _CONFIDENCE * math.sqrt(n * QUANTILE * (1 - QUANTILE))
        low, high = (int(np.clip(n * QUANTILE + side, 0, n - 1)) for side in (-apart - 1, apart))
        quarter, median, three = np.quantile(ordered, [0.25, 0.5, 0.75])
        interval = float(ordered[low]), float(ordered[high])
        return cls(float(np.quantile(ordered, QUANTILE)), interval, float(median), float(three - quarter))

    def times(self, scale: float) -> Timing:
        """Of a call that takes `scale` times as long."""
        low, high = self.interval
        return Timing(scale * self.ms, (scale * low, scale * high), scale * self.median, scale * self.spread)


@dataclass(frozen=True)
class Scan:
    """One query against many documents, of which as many are held as fit beside those of the other runs."""

    documents: int
    width: int
    """Values of one document."""
    over: Callable[[int], Callable[[], object]]
    """What runs the query over the first so many."""
    encode: Callable[[], object] | None = None
    """What makes a vector of the query's text, where that comes on top."""
    encoder: Any = None
    """Runs of one encoder take equally long to encode, so that is timed once."""


def interleaved(runs: Sequence[Callable[[], object]]) -> list[Timing]:
    """
    Time every run once a round, so that whatever else the machine does meets them all alike.

    A round before the first is not counted.
    """
    times: list[list[float]] = []
    with one_thread():
        for run in runs:
            run()
        begun = time.monotonic()
        while not _enough(times, time.monotonic() - begun):
            times.append([_once(run) for run in runs])
    return [Timing.of(column) for column in np.array(times).T / 1e6]


def _enough(times: list[list[float]], seconds: float) -> bool:
    if len(times) < 3 or (len(times) < LEAST and seconds < SECONDS):
        return False
    if len(times) >= MOST or seconds > MORE:
        return True
    if len(times) % LEAST:
        return False
    found = [Timing.of(column) for column in np.array(times).T]
    return all(one.interval[1] - one.interval[0] < 2 * STABLE * one.ms for one in found)


def timed(records: Sequence[Record], runs: Sequence[Callable[[], object] | Scan]) -> list[Record]:
    """The records with the times of their runs. Of many documents some are scanned, and the rest reckoned."""
    scans = [run for run in runs if isinstance(run, Scan)]
    documents = max((scan.documents for scan in scans), default=1)
    rows = max(1, min(documents, _TIMED // max(1, sum(scan.width for scan in scans))))
    encoders = {scan.encoder: scan.encode for scan in scans if scan.encode is not None}
    times = interleaved([*(run.over(rows) if isinstance(run, Scan) else run for run in runs), *encoders.values()])
    encoding = dict(zip(encoders, times[len(runs) :], strict=True))
    found = []
    for record, run, timing in zip(records, runs, times[: len(runs)], strict=True):
        one = timing.times(documents / rows) if isinstance(run, Scan) else timing
        before = encoding.get(run.encoder) if isinstance(run, Scan) else None
        found.append(
            replace(
                record, ms=one.ms, ms_interval=one.interval, ms_median=one.median, ms_spread=one.spread,
                encoding_ms=None if before is None else before.ms,
            )
        )  # fmt: skip
    return found


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and, where threadpoolctl is installed, for numpy: threads that fight make times noise."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    limit: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if importlib.util.find_spec("threadpoolctl"):
        import threadpoolctl

        limit = threadpoolctl.threadpool_limits(1)
    try:
        with limit:
            yield
    finally:
        torch.set_num_threads(before)


def _once(run: Callable[[], object]) -> int:
    wait_for_gpu()
    begun = time.perf_counter_ns()
    run()
    wait_for_gpu()
    return time.perf_counter_ns() - begun
