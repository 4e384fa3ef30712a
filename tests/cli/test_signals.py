"""Ctrl-C and SIGTERM at any time: one line, the status that shells expect, no traceback, nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import spread_vectors

WHOLE = [sys.executable, "-m", "anysize"]
# A module in place of the verb's: so the signal comes at a place that is known.
PROGRAM = """
import os, signal, sys, time
import anysize.cli.main as main
number, place = signal.Signals(int(sys.argv[1])), sys.argv[2]

def now():
    signal.raise_signal(number)

class Verb:
    def run(self):
        if place == "verb":
            now()
        if place == "swallowed":
            class Dies:
                def __del__(self):
                    now()
            Dies()
            time.sleep(5)
        if place == "renamed":
            try:
                now()
            except BaseException:
                raise ImportError("a library made this of it") from None
        if place == "child":
            if os.fork() == 0:
                now()
            os._exit(0 if os.waitstatus_to_exitcode(os.wait()[1]) == -number else 9)
        return self
    def text(self):
        return "done"

def parse(command, verb, words):
    if place == "import":
        now()
    return Verb(), False

main._parse = parse
if place == "end":
    import atexit
    atexit.register(now)
main.main(["info"])
"""


def run(number: int, place: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", PROGRAM, str(int(number)), place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("number", "status", "word"), [
    (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"),
])  # fmt: skip
@pytest.mark.parametrize("place", ["import", "verb", "swallowed", "renamed"])
def test_wherever_it_comes_it_is_one_line(number: int, status: int, word: str, place: str) -> None:
    assert run(number, place) == (status, "", f"anysize: {word}; what was there before is unchanged\n")


def test_after_the_result_it_says_nothing_more() -> None:
    assert run(signal.SIGINT, "end") == (130, "done\n", "")


def test_a_forked_process_dies_as_it_would_have() -> None:
    assert run(signal.SIGTERM, "child")[0] == 0
    assert run(signal.SIGINT, "child")[0] == 0


def test_where_ctrl_c_is_ignored_it_stays_ignored() -> None:
    """As in a job that a shell started in the background."""
    command = [sys.executable, "-c", PROGRAM, str(int(signal.SIGINT)), "verb"]
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=ignore, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")


def wait_until_it_listens(process: subprocess.Popen[str]) -> None:
    """Before that the interpreter itself starts, on a busy machine for long, and no word of ours is heard."""
    listens = 1 << (signal.SIGTERM - 1)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None and status.exists():
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & listens:
            return
        time.sleep(0.005)


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4, 0.8, 1.6])
def test_a_real_verb_interrupted_while_it_starts(tmp_path: Path, delay: float) -> None:
    np.save(tmp_path / "v.npy", spread_vectors(64))
    command = [*WHOLE, "fit", tmp_path / "v.npy", "--out", tmp_path / "m", "--dims", "4", "--epochs", "3000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until_it_listens(process)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.endswith("anysize: interrupted; what was there before is unchanged\n")
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} <= {"v.npy", "m.partial"}


def test_a_reader_that_leaves_early_ends_a_verb_quietly(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", spread_vectors(8))
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    done = subprocess.run(
        [*WHOLE, "info", tmp_path / "v.npy"], stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False
    )
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (0, "")
