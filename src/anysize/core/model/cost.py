"""What a size costs: bytes stored and arithmetic per item, parameters held, and time as measured."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class Cost:
    """
    What one size costs, counted and not timed.

    Raises `AnysizeError` if a count is negative.
    """

    bytes: int
    """Bytes stored per item (an embedding of 64 float32 is 256)."""
    parameters: int
    """Weights that this size reads."""
    flops: int
    """Floating-point operations per item; one multiply-add counts as two."""

    def __post_init__(self) -> None:
        for name in ("bytes", "parameters", "flops"):
            if getattr(self, name) < 0:
                raise AnysizeError(f"a cost cannot be negative, but {name} is {getattr(self, name)}")


def latency_ms(run: Callable[[], object], *, repeats: int = 20, warmup: int = 3) -> float:
    """
    Median wall time of `run()` in milliseconds, warm.

    The median is not moved by the odd slow call. Work queued on a GPU is waited for.
    Raises `AnysizeError` if there is nothing to repeat.
    """
    if repeats < 1 or warmup < 0:
        raise AnysizeError(f"latency needs at least 1 repeat and 0 warm-up calls; got {repeats} and {warmup}")
    for _ in range(warmup):
        run()
    wait_for_gpu()
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        run()
        wait_for_gpu()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e6


def gpu_works() -> bool:
    """Whether work is queued on a GPU by this process."""
    torch = sys.modules.get("torch")  # never imported for this: without torch there is no queue
    return torch is not None and bool(torch.cuda.is_initialized())


def wait_for_gpu() -> None:
    """Until all that was queued on a GPU is done."""
    if gpu_works():
        sys.modules["torch"].cuda.synchronize()
