"""A disk that is full after any number of bytes, for every verb that writes: one sentence, true, and nothing lost."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.reliability.artefacts import Scratch
from benchmarks.reliability.harness import Tally, forked
from benchmarks.reliability.kills import writes
from benchmarks.reliability.verbs import VERBS, Verb

CLAIM = (
    "On a full disk a verb ends with one true sentence, the old artefact answers as before, and nothing is left behind"
)
GOAL = 300
WORDS = {
    "data": "small artefacts on a file system in memory of 16 MB of which all but a random part is filled before the "
    "verb runs; where none can be mounted, openings to write fail from a random one on",
    "note": "The sentence is true: what it says is unchanged is, and once there is room the command that it "
    "advises succeeds.",
}
SIZE = 16 << 20

WRONG = ("lost", "left over", "untrue", "traceback", "crash", "hang", "unclear")
APART: tuple[str, ...] = ()


def run(scratch: Scratch, trials: int, rng: random.Random, tally: Tally) -> None:
    """`trials` runs with a random number of free bytes or, where nothing can be mounted, of writes that succeed."""
    with _mounted(scratch / "full-disk") as (room, mounted):
        needs: dict[str, Any] = {}
        verbs = rng.sample(VERBS, len(VERBS))
        for number in range(trials):
            verb = verbs[number % len(verbs)]
            needs[verb.name] = needs.get(verb.name) or _needs(verb, scratch, room)
            _trial(verb, scratch, room, rng, tally, mounted, *needs[verb.name])


def _needs(verb: Verb, scratch: Scratch, room: Path) -> tuple[Any, Any, int, int]:
    """State before and after, and the most bytes, and openings to write, that an undisturbed run may need."""
    verb.prepare(scratch, room)
    before, used = verb.state(room), _used(room)
    counted = forked(lambda: _refusing(verb, room, None), limit=300)
    peak = max(8192, 3 * max(_used(room) - used, _used(room) // 4))
    return before, verb.state(room), peak, counted.answer or 1


def _trial(
    verb: Verb, scratch: Scratch, room: Path, rng: random.Random, tally: Tally, mounted: bool,
    before: Any, after: Any, peak: int, openings: int,
) -> None:  # fmt: skip
    verb.prepare(scratch, room)
    first = verb.names(room)
    if mounted:
        free = rng.choice((0, rng.randrange(1, peak), rng.randrange(1, peak), rng.randrange(1, 40_000)))
        ballast = room / "tmp" / "ballast"
        _fill(ballast, free)
        ended, how = forked(lambda: verb.act(room), limit=60), f"with {free} bytes free"
    else:
        place = rng.randint(1, openings)
        ended, how = forked(lambda: _refusing(verb, room, place), limit=60), f"full from opening {place} of {openings}"
    state = verb.state(room)
    (room / "tmp" / "ballast").unlink(missing_ok=True)
    example = f"{verb.name} {how}: {ended.last[:300]}"
    left = sorted(name for name in set(verb.names(room)) - set(first) if ".partial" not in name)
    if ended.status == 0:
        tally.note(verb.name, "finished" if verb.alike(state, after) else "lost", verb.name, example)
        return
    if ended.wrong:
        tally.note(verb.name, ended.wrong, ended.cause, example)
    elif state != before and not verb.alike(state, after):
        tally.note(verb.name, "lost", verb.name, f"{example}: {state}"[:500])
    elif state != before:
        tally.note(verb.name, "untrue", f"{verb.name}: it is new though the verb failed", example)
    elif left:
        tally.note(verb.name, "left over", f"{verb.name}: {left[0][:12]}", f"{example} left {left[:5]}")
    else:
        advised = "--resume" in ended.last
        again = forked(lambda: verb.act(room, advised), limit=300)
        said = "refused" if again.status == 0 else "untrue"
        tally.note(verb.name, said, f"what it advises fails: {again.cause}", f"{example} | then {again.last[:200]}")


def _refusing(verb: Verb, room: Path, fatal: int | None) -> int:
    """Act, where from the `fatal`-th on everything that opens a file in the room to write meets a full disk."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if (event == "open" and writes(arguments, str(room))) or (event == "os.mkdir" and room.name in str(arguments)):
            count += 1
            if fatal is not None and count >= fatal:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    sys.addaudithook(hook)
    verb.act(room)
    return count


def _used(room: Path) -> int:
    found = os.statvfs(room)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _fill(ballast: Path, free: int) -> None:
    """A file that leaves `free` bytes, rounded to blocks."""
    found = os.statvfs(ballast.parent)
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, (found.f_bfree * found.f_frsize) - free - found.f_frsize))


@contextmanager
def _mounted(place: Path) -> Iterator[tuple[Path, bool]]:
    """A folder in a small file system of its own, and whether this machine lets one be mounted; gone afterwards."""
    if place.is_mount():  # of a run that was killed
        subprocess.run(["umount", "-l", str(place)], check=True)
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "anysize", str(place)]
    able = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = able and subprocess.run(words, capture_output=True).returncode == 0
    try:
        (place / "room").mkdir()
        yield place / "room", mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)
        shutil.rmtree(place, ignore_errors=True)
