"""Times of arms that take turns, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def taking_turns(
    arms: dict[str, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Milliseconds of each arm (of the processor, unless told otherwise), `repeats` times, one after another."""
    found: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(repeats + 1):
        for name, run in arms.items():
            begin = clock()
            run()
            if turn:
                found[name].append(1000 * (clock() - begin))
    return found


def ratio(found: dict[str, list[float]], arm: str, base: str) -> float:
    """Median over turns of one arm's time by another's."""
    return float(np.median(np.array(found[arm]) / np.array(found[base])))


def latency_ms(run: Callable[[], object], *, repeats: int) -> float:
    """Median wall time of `run()` in milliseconds, after three calls that warm it up."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)
