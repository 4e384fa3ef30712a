"""The harness tells the ways apart in which a trial can end; were it blind, no campaign would find anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.reliability.harness import Ended, Tally, listing, one_sentence, row

ROOT = Path(__file__).resolve().parents[3]
ENDINGS = """
import json, os, signal, sys, time
from anysize.core.errors import AnysizeError
from benchmarks.reliability.harness import forked

def refuse():
    raise AnysizeError("no")

def fail():
    raise KeyError("x")

def crash():
    os.kill(os.getpid(), signal.SIGSEGV)

def babble():
    sys.stderr.write("what\\nis\\nthis\\n")
    sys.exit(2)

actions = {"answer": lambda: [1], "refuse": refuse, "fail": fail, "crash": crash, "babble": babble,
           "hang": lambda: time.sleep(60), "hoard": lambda: len(bytearray(2 << 30))}
ended = {name: forked(action, limit=2, memory=1 << 30) for name, action in actions.items()}
print(json.dumps({name: [one.status, one.refused, one.wrong, one.answer] for name, one in ended.items()}))
"""


def test_every_way_to_end_is_told_apart():
    done = subprocess.run([sys.executable, "-c", ENDINGS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "answer": [0, False, None, [1]],
        "refuse": [2, True, None, None],
        "fail": [70, False, "traceback", None],
        "crash": [-11, False, "crash", None],
        "babble": [2, False, "unclear", None],
        "hang": [-9, False, "hang", None],
        "hoard": [70, False, "traceback", None],
    }


@pytest.mark.parametrize(
    ("err", "expected"),
    [
        ("anysize: no\n", True),
        ("training 50%|##\ranysize: no\n", True),
        ("anysize: no\nanysize: again\n", False),
        ("anysize: no\nand more\n", False),
        ("no\n", False),
        ("", False),
    ],
)
def test_what_one_sentence_is(err, expected):
    assert one_sentence(err) is expected


def test_a_cause_is_our_last_frame_and_the_exception():
    err = 'Traceback (most recent call last):\n  File "/anysize/a/b.py", line 3, in f\n  File "y.py"\nKeyError: 7\n'
    assert Ended(70, "", err, 0.1).cause == "a/b.py:3 KeyError"


def test_a_claim_is_won_only_without_anything_wrong_and_with_enough_trials(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("benchmarks.reliability.harness.write_row", lambda name, **given: written.append(given))
    tally = Tally(wrong=("lost",), apart=("rerun",))
    tally.note("fit", "old")
    tally.note("fit", "rerun")
    words = {"data": "made up", "note": ""}
    assert tally.trials == 1
    for goal in (1, 2):
        row("kills", "claim", goal, tally, words, 0)
    tally.note("cut", "lost", "why", "how")
    row("kills", "claim", 1, tally, words, 0)
    assert [given["outcome"] for given in written] == ["won", "lost", "lost"]
    assert written[-1]["values"]["all"] == {"old": 1, "rerun": 1, "lost": 1}
    assert tally.findings == {"lost: why": {"count": 1, "groups": ["cut"], "examples": ["how"]}}
    assert "1  lost: why   [cut]" in tally.text()


def test_a_listing_follows_no_link(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    assert listing(tmp_path / "in") == {"link": f"link to {tmp_path / 'out'}"}
