from __future__ import annotations

import pytest

from anysize.core import progress
from anysize.core.progress import bar, duration, each_view


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
        "encoding: 110 of 1,000 texts, about 81 s left",
        "encoding: 410 of 1,000 texts, about 58 s left",
        "encoding: 710 of 1,000 texts, about 29 s left",
    ]


def test_a_resumed_run_reckons_from_where_it_began(clock, capsys):
    with bar(100, "training", " steps", done=60) as shown:
        shown.set_postfix(loss="0.5")
        clock[0] = 10.0
        shown.update(20)
    assert capsys.readouterr().err == "training: 80 of 100 steps, loss 0.5, about 10 s left\n"


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
