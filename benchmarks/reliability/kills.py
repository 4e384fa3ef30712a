"""SIGKILL at any moment of every verb that writes: what stood there stands, or what is new stands whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.reliability.artefacts import Scratch
from benchmarks.reliability.harness import Ended, Tally, forked, listing, taught
from benchmarks.reliability.verbs import VERBS, Verb

CLAIM = "A writer that is killed loses nothing: the old artefact stands or the new one whole, and the next run finishes"
GOAL = 1000
WORDS = {
    "data": "small artefacts made by the verbs; half of the kills at a random moment, half at a random one of the "
    "writes, renames and removals of the run; one in fifty of a fresh interpreter",
    "note": "After up to six kills the command is given again, with --resume where an unfinished run stands: it must "
    "end with the bytes of an undisturbed run and leave nothing else behind, also among temporary files. What "
    "killed runs left under temporary names is made two seconds older first, as only then the next run removes it.",
}
_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree",
           "fcntl.flock", "ctypes.dlsym", "tempfile.mkdtemp")  # fmt: skip

AGE = 2.0
"""Seconds by which what a killed run left is made older: up to one second it counts as that of one that just began."""

WRONG = ("lost", "stuck", "other bytes", "left over", "traceback")
APART: tuple[str, ...] = ("rerun equal",)


def run(scratch: Scratch, trials: int, rng: random.Random, tally: Tally) -> None:
    """`trials` kills, spread over the verbs."""
    room = scratch / "kills"
    known: dict[str, Any] = {}
    while tally.trials < trials:
        for verb in rng.sample(VERBS, len(VERBS)):
            if tally.trials < trials:
                known[verb.name] = known.get(verb.name) or _undisturbed(verb, scratch, room, tally)
                _trial(verb, scratch, room, rng, tally, *known[verb.name])
    shutil.rmtree(room, ignore_errors=True)


def _undisturbed(verb: Verb, scratch: Scratch, room: Path, tally: Tally) -> Any:
    """What stands before and after a run that nothing disturbs, how long it takes and how often it writes."""
    verb.prepare(scratch, room)
    before = verb.state(room)
    counted = taught(lambda: _counting(verb, room, None), limit=300)
    if counted.status:
        tally.note(verb.name, "traceback" if counted.wrong else "stuck", f"undisturbed: {counted.cause}", counted.last)
    events = int((room / "tmp" / "events").read_text()) if (room / "tmp" / "events").exists() else 1
    return before, verb.state(room), verb.names(room), counted.seconds, events


def _trial(
    verb: Verb, scratch: Scratch, room: Path, rng: random.Random, tally: Tally,
    before: Any, after: Any, names: list[str], seconds: float, events: int,
) -> None:  # fmt: skip
    verb.prepare(scratch, room)
    story: list[str] = []
    for _ in range(rng.randint(1, 6)):
        ended, how = _killed(verb, room, rng, seconds, events)
        if ended.status != -signal.SIGKILL:
            if ended.wrong:
                tally.note(verb.name, "traceback", ended.cause, f"{' '.join(story)} {ended.last}")
            break
        story.append(how)
        state = verb.state(room)
        outcome = "old" if state == before else "new" if verb.alike(state, after) else "lost"
        tally.note(verb.name, outcome, verb.name, f"{verb.name} after {'; '.join(story)}: {state}")
        if outcome == "lost":
            return
    for path in (path for folder in (room, room / "tmp", room / "model") for path in folder.glob(".*.tmp")):
        os.utime(path, (time.time() - AGE,) * 2, follow_symlinks=False)
    done = _again(verb, room)
    example = f"{verb.name} after {'; '.join(story)}: {done.last}"
    if done.wrong:
        tally.note(verb.name, "traceback", done.cause, example)
    elif done.status and verb.state(room) != after:
        tally.note(verb.name, "stuck", done.cause, example)
    elif verb.state(room) != after:
        tally.note(verb.name, "other bytes", verb.name, example)
    else:
        tally.note(verb.name, "rerun equal")
    there = [*verb.names(room), *(f"tmp/{name}" for name in listing(room / "tmp") if name != "events")]
    if left := sorted(set(there) - set(names)):
        causes = sorted({"".join("#" if c in "0123456789abcdef" else c for c in one) for one in left})
        tally.note(verb.name, "left over", f"{verb.name}: {causes[0]}", f"{example} left {left}")


def _killed(verb: Verb, room: Path, rng: random.Random, seconds: float, events: int) -> tuple[Ended, str]:
    resumed = verb.resume(room)
    kind = rng.random()
    if kind < 0.02 and verb.words:
        moment = rng.uniform(0, 4 + 2 * seconds)
        return _fresh(verb, room, moment, resumed), f"{moment:.2f} s of a fresh interpreter"
    if kind < 0.5:
        place = rng.randint(1, events)
        return forked(lambda: _counting(verb, room, place, resumed)), f"write {place} of {events}"
    moment = rng.uniform(0, 1.05 * seconds)

    def kill(pid: int) -> None:
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)

    return forked(lambda: verb.act(room, resumed), meanwhile=kill), f"{moment:.3f} s of {seconds:.3f}"


def _fresh(verb: Verb, room: Path, moment: float, resumed: bool) -> Ended:
    words = [sys.executable, "-m", "anysize", *verb.line(room, resumed)]
    env = {**os.environ, "TMPDIR": str(room / "tmp")}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            _, err = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            _, err = process.communicate()
    return Ended(process.returncode, "", err, moment)


def _again(verb: Verb, room: Path) -> Ended:
    """The command once more, as its own message advises: with --resume where a run stands unfinished, else without."""
    done = forked(lambda: verb.act(room, verb.resume(room)), limit=300)
    return forked(lambda: verb.act(room, False), limit=300) if done.status == 2 else done


def _counting(verb: Verb, room: Path, fatal: int | None, resumed: bool = False) -> None:
    """Act while counting what touches files; the process kills itself at the `fatal`-th such event."""
    count, inside = 0, str(room)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _EVENTS and not (event == "open" and writes(arguments, inside)):
            return
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        verb.act(room, resumed)
    finally:
        if fatal is None:
            (room / "tmp" / "events").write_text(str(count))


def writes(arguments: tuple[Any, ...], inside: str) -> bool:
    """Whether the arguments of an audited `open` are those of a file under `inside` that is opened to be written."""
    path, _, flags = arguments
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and str(path).startswith(inside)
