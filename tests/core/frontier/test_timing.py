from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest

from anysize.core.frontier import timing
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.frontier.timing import Scan, Timing, interleaved, timed
from anysize.core.sizes.size import Size


def at(dims: int, ms: float | None = None, half: float = 0.0, **more) -> Record:
    interval = None if ms is None else (ms - half, ms + half)
    return Record(Size(dims=dims), "nested", {"m": dims / 100}, 4 * dims, ms=ms, ms_interval=interval, **more)


def test_interruptions_do_not_change_a_time():
    rng = np.random.default_rng(0)
    calm = 1 + 0.01 * rng.random(100)
    busy = calm + (rng.random(100) < 0.6) * rng.exponential(3, 100)
    first, second = Timing.of(calm), Timing.of(busy)
    assert second.ms == pytest.approx(first.ms, rel=0.01)
    assert second.median > 1.2 * first.median
    assert second.spread > 10 * first.spread


def test_the_interval_holds_the_quantile_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        found = Timing.of(rng.exponential(1, 60)).interval
        held += found[0] <= -np.log(0.9) <= found[1]
    assert held >= 0.93 * 400


def test_runs_take_turns_until_their_times_are_stable(monkeypatch):
    order = []
    monkeypatch.setattr(timing, "_once", lambda run: order.append(run) or len(order) % 2 + 1_000_000)
    found = interleaved(["a".upper, "b".upper])
    assert len(order) == 2 * timing.LEAST  # stable at once, so no more than the least
    assert len({*order[::2]}) == len({*order[1::2]}) == 1
    assert [one.ms for one in found] == pytest.approx([1, 1], abs=1e-3)
    rng = np.random.default_rng(0)
    order.clear()
    monkeypatch.setattr(timing, "_once", lambda run: order.append(run) or int(1e6 * rng.exponential()))
    monkeypatch.setattr(timing, "MORE", 60.0)
    interleaved(["a".upper])
    assert len(order) == timing.MOST  # never stable


def test_encoding_is_timed_once_for_all_that_share_an_encoder():
    asked = []

    def encode(name):
        asked.append(name)
        time.sleep(0.002)

    def scan(encoder):
        return Scan(1000, 1 << 21, lambda rows: partial(time.sleep, rows / 1e6), partial(encode, encoder), encoder)

    records = timed([at(8), at(16), at(32)], [scan("one"), scan("one"), scan("two")])
    assert asked.count("one") == asked.count("two")
    assert records[0].encoding_ms == records[1].encoding_ms >= 2
    # One document of the thousand fits beside those of the other runs: the time of all is reckoned from it.
    assert all(record.ms > 1000 * 1e-3 for record in records)


def test_times_that_overlap_are_shown_as_the_same_and_a_larger_size_is_never_faster_by_noise():
    records = (at(8, 1.0, 0.05), at(16, 0.97, 0.05), at(32, 1.2, 0.05), at(64, 1.18, 0.1), at(128, 2.0, 0.1))
    frontier = Frontier(records, "m")
    rows = [line.split() for line in frontier.table().splitlines()]
    assert rows[0] == ["dims", "bytes", "ms/query", "m"]
    assert [row[2] for row in rows[1:6]] == ["1", "same", "1.2", "same", "2"]
    alike = Frontier((at(8, 1.0, 0.1), at(16, 0.97, 0.1, encoding_ms=9.0)), "m").table().splitlines()
    assert alike[-2] == "  about 0.98 ms/query at every size: the differences are noise"
    assert alike[-1] == "  encoding the query's text takes 9 ms more, whatever the size"
    assert Frontier.from_json(frontier.to_json()) == frontier


def test_choose_names_those_that_are_no_slower(anysize, tmp_path):
    records = (at(8, 1.0, 0.05), at(16, 1.08, 0.05), at(32, 1.3, 0.05))
    Frontier(records, "m").to_json(tmp_path / "f.json")
    said = anysize("choose", tmp_path / "f.json", "--max-ms", "1.02")
    assert said.out.startswith("dims=8")
    assert "dims=16 (1.08 ms): above 1.02 ms, and in time the same within noise as dims=8" in said.err
    assert "dims=32 (" not in said.err
