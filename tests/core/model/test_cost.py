from __future__ import annotations

import time

import pytest

from anysize.core.errors import AnysizeError
from anysize.core.model.cost import Cost, latency_ms


def test_cost_refuses_a_negative_count():
    with pytest.raises(AnysizeError, match="flops is -1"):
        Cost(bytes=4, parameters=0, flops=-1)


def test_latency_is_in_milliseconds_and_near_the_time_slept():
    assert 5 <= latency_ms(lambda: time.sleep(0.005), repeats=5, warmup=0) < 50


def test_latency_counts_calls_and_leaves_the_slow_first_call_out():
    calls = []

    def run():
        calls.append(None)
        if len(calls) == 1:
            time.sleep(0.2)

    assert latency_ms(run, repeats=3, warmup=1) < 100
    assert len(calls) == 4


def test_latency_is_the_median_not_the_mean():
    waits = iter([0.0, 0.0, 0.3])
    assert latency_ms(lambda: time.sleep(next(waits)), repeats=3, warmup=0) < 50


def test_latency_needs_a_repeat():
    with pytest.raises(AnysizeError, match="at least 1 repeat"):
        latency_ms(lambda: None, repeats=0)
