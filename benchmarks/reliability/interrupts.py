"""Ctrl-C at any moment from the first instruction of the interpreter on: exit 130, no traceback, nothing lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.reliability.artefacts import Scratch
from benchmarks.reliability.harness import Ended, Tally, forked
from benchmarks.reliability.verbs import VERBS, Verb

CLAIM = "Ctrl-C ends any verb at any moment with exit 130 and one sentence, and what stood there stands"
GOAL = 300
WORDS = {
    "data": "small artefacts made by the verbs; half of the interrupts in a fresh interpreter, by `python -m anysize` "
    "and by the script, at a random moment from its start; half in a process that has its imports",
    "note": "A run that had ended counts as finished; an interrupt that met Python's own start, with no frame of ours, "
    "is counted apart.",
}
OURS = 0.02
"""Seconds after the start before which Python itself may not have begun to run our code."""

WRONG = ("traceback", "lost", "left over", "exit", "unclear", "hang")
APART: tuple[str, ...] = ()


def run(scratch: Scratch, trials: int, rng: random.Random, tally: Tally) -> None:
    """`trials` interrupts, spread over verbs and over ways to start."""
    room = scratch / "interrupts"
    known: dict[str, tuple[Any, Any, list[str], float]] = {}
    verbs = [verb for verb in rng.sample(VERBS, len(VERBS)) if verb.words]
    ways = ("module", "script", "forked", "forked")
    for number in range(trials):
        verb, way = verbs[number % len(verbs)], rng.choice(ways)
        if verb.name not in known:
            verb.prepare(scratch, room)
            before = verb.state(room)
            seconds = forked(partial(verb.act, room), limit=300).seconds
            known[verb.name] = before, verb.state(room), verb.names(room), seconds
        before, after, _, seconds = known[verb.name]
        verb.prepare(scratch, room)
        ended, moment = (_forked if way == "forked" else _fresh)(verb, room, rng, seconds, way)
        state = verb.state(room)
        left = [name for name in verb.names(room) if ".tmp" in name.partition("/")[0]]
        example = f"{verb.name} by {way} after {moment:.3f} s: status {ended.status} {ended.last[:300]}"
        if ended.late:
            outcome = "hang"
        elif state != before and not verb.alike(state, after):
            outcome = "lost"
        elif "Traceback" in ended.err:
            outcome = "traceback" if "anysize" in ended.err else "before our code"
        elif ended.status == 0:
            outcome = "finished"
        elif ended.status == -signal.SIGINT:
            outcome = "unclear" if ended.err else "before our code"
        elif ended.status != 130:
            outcome = "exit"
        elif left:
            outcome = "left over"
        else:
            outcome = "interrupted" if "interrupted" in ended.last else "unclear"
        tally.note(way, outcome, ended.cause if outcome != "left over" else left[0][:8], example)
    shutil.rmtree(room, ignore_errors=True)


def _forked(verb: Verb, room: Path, rng: random.Random, seconds: float, way: str) -> tuple[Ended, float]:
    moment = rng.uniform(0.005, 1.05 * seconds)

    def interrupt(pid: int) -> None:
        time.sleep(moment)
        os.kill(pid, signal.SIGINT)

    return forked(lambda: verb.act(room), meanwhile=interrupt, limit=60), moment


def _fresh(verb: Verb, room: Path, rng: random.Random, seconds: float, way: str) -> tuple[Ended, float]:
    script = Path(sysconfig.get_path("scripts")) / "anysize"
    start = [sys.executable, "-m", "anysize"] if way == "module" else [str(script)]
    moment = rng.uniform(OURS, 4 + 2 * seconds) if rng.random() < 0.6 else rng.uniform(OURS, 1.5)
    env = {**os.environ, "TMPDIR": str(room / "tmp")}
    with subprocess.Popen([*start, *verb.line(room)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, env=env, preexec_fn=_allow) as process:  # fmt: skip
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        late = False
        try:
            _, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            late = True
            process.kill()
            _, err = process.communicate()
    return Ended(process.returncode, "", err, moment, late=late), moment


def _allow() -> None:
    """A job in the background inherits that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
