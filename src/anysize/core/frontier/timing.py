"""Times that can be compared: all sizes in turn, round after round, on one thread, with how much they vary."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anysize.core.model.cost import wait_for_gpu

if TYPE_CHECKING:
    from anysize.core.frontier.record import Record

ROUNDS, SECONDS = 15, 20.0
_TIMED = 1 << 23  # values of all sizes' documents that are held to be timed: 32 MB


class Scan(NamedTuple):
    """One query against many documents, of which as many are held as fit beside those of the other runs."""

    documents: int
    width: int
    """Values of one document."""
    over: Callable[[int], Callable[[], object]]
    """What runs the query over the first so many."""


class Timing(NamedTuple):
    """What calls of one kind took."""

    ms: float
    """Their median, in milliseconds."""
    spread: float
    """The range of their middle half, in milliseconds."""


def interleaved(
    runs: Sequence[Callable[[], object]], *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> list[Timing]:
    """
    Time every run once a round, so that whatever else the machine does meets them all alike.

    A round before the first is not counted. Fewer rounds are made, but at least three, if they take over `seconds`.
    """
    times: list[list[float]] = []
    with one_thread():
        begun = time.monotonic()
        for number in range(rounds + 1):
            if number > 3 and time.monotonic() - begun > seconds:
                break
            times.append([_once(run) for run in runs])
    table = np.array(times[1:]) / 1e6
    low, middle, high = np.quantile(table, [0.25, 0.5, 0.75], axis=0)
    return [Timing(float(ms), float(spread)) for ms, spread in zip(middle, high - low, strict=True)]


def timed(records: Sequence[Record], runs: Sequence[Callable[[], object] | Scan]) -> list[Record]:
    """The records with the times of their runs. Of many documents some are scanned, and the rest reckoned."""
    scans = [run for run in runs if isinstance(run, Scan)]
    documents = max((scan.documents for scan in scans), default=1)
    rows = max(1, min(documents, _TIMED // max(1, sum(scan.width for scan in scans))))
    times = interleaved([run.over(rows) if isinstance(run, Scan) else run for run in runs])
    scales = [documents / rows if isinstance(run, Scan) else 1.0 for run in runs]
    return [
        replace(record, ms=scale * timing.ms, ms_spread=scale * timing.spread)
        for record, timing, scale in zip(records, times, scales, strict=True)
    ]


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
