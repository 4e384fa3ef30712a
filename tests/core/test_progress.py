from __future__ import annotations

import numpy as np
import pytest

from anysize.core import progress
from anysize.core.progress import bar, duration, each_view
from anysize.search import Index


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_comes_now_and_then(clock, capsys):
    with bar(1000, "encoding", " texts") as shown:
        for second in range(100):
            clock[0] = second
            shown.update(10)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"encoding: {10 * second + 10} of 1,000 texts, about {left} s left"
        for second, left in zip(range(10, 100, 10), (81, 75, 67, 58, 48, 38, 29, 19, 9), strict=True)
    ]
    assert "\r" not in said.err


def test_a_resumed_run_reckons_from_where_it_began(clock, capsys):
    with bar(100, "training", " steps", done=60) as shown:
        shown.set_postfix(loss="0.5")
        clock[0] = 10.0
        shown.update(20)
    assert capsys.readouterr().err == "training: 80 of 100 steps, loss 0.5, about 10 s left\n"


def test_work_of_unknown_length_says_how_much_is_done(clock, capsys):
    with bar(None, "index", " items", leave=False) as shown:
        for clock[0] in (9.0, 11.0, 20.0, 21.0):
            shown.update(500)
    assert capsys.readouterr().err == "index: 1,000 items\nindex: 2,000 items\n"


def test_more_than_was_expected_leaves_nothing(clock, capsys):
    with bar(10, "index") as shown:
        clock[0] = 10.0
        shown.update(20)
    assert capsys.readouterr().err == "index: 20 of 10, about 0 s left\n"


def test_building_an_index_says_how_far_it_is(clock, capsys, tmp_path, monkeypatch):
    def batches():
        for _ in range(3):
            clock[0] += 11
            yield np.eye(4, 8, dtype=np.float32)

    def told(items, **more):
        clock[0] = 0.0
        monkeypatch.setattr(progress, "EVERY", 1.0)
        Index.build(tmp_path / "i", None, items, **more)
        return capsys.readouterr().err.splitlines()

    assert told(batches()) == ["index: 8 items", "index: 12 items"]
    assert told(np.eye(4, 8)) == []
    assert told(batches(), progress=False) == []


def test_short_work_and_other_processes_say_nothing(clock, capsys, monkeypatch):
    with bar(3, "encoding") as shown:
        clock[0] = 9.9
        shown.update(3)
    with bar(3, "encoding", show=False) as shown:
        clock[0] = 99
        shown.update(1)
    monkeypatch.setenv("RANK", "1")
    with bar(3, "encoding") as shown:
        clock[0] = 199
        shown.update(1)
    assert capsys.readouterr().err == ""


def test_every_view_comes_with_its_arm():
    assert list(each_view({"nested": [1, 2], "pca": [3]})) == [("nested", 1), ("nested", 2), ("pca", 3)]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (5399, "90 min"), (7200, "2.0 h")]
)
def test_durations(seconds, said):
    assert duration(seconds) == said
