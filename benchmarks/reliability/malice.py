"""Folders and files made to run code, reach outside, or fill the memory: nothing runs, nothing outside changes."""

from __future__ import annotations

import os
import random
import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.reliability import traps
from benchmarks.reliability.artefacts import Scratch
from benchmarks.reliability.harness import Ended, Tally, command, forked, listing

CLAIM = "A hostile file runs no code, changes nothing outside our folders, is not read from elsewhere, and is refused"
GOAL = 100
WORDS = {
    "data": "artefacts made by the verbs and then armed: links, paths out of the folder, code beside a model, pickles, "
    "bombs, devices, headers of 10^12, deep JSON, control characters",
    "note": "Each is given to every verb that could read it or write there, with an open terminal that answers yes; a "
    "tree outside is compared before and after, and the memory is capped.",
}
MEMORY = 3 << 30

WRONG = (
    "ran code",
    "changed outside",
    "read outside",
    "believed",
    "memory",
    "forged",
    "traceback",
    "crash",
    "hang",
    "unclear",
)
APART: tuple[str, ...] = ()


def run(scratch: Scratch, trials: int, rng: random.Random, tally: Tally) -> None:
    """Every trap once, with every command that it is set for; `trials` caps their number."""
    room = scratch / "malice"
    for trap in rng.sample(traps.TRAPS, len(traps.TRAPS)):
        for words in trap.commands:
            if tally.trials >= trials:
                break
            shutil.rmtree(room, ignore_errors=True)
            (room / "outside" / "deep").mkdir(parents=True)
            (room / "outside" / "kept.txt").write_text("kept")
            (room / "outside" / "deep" / "kept.txt").write_text("kept")
            (room / "inside").mkdir()
            trap.arm(scratch, room / "inside", room / "outside")
            before = listing(room / "outside")
            line = [word.replace("@", f"{room}/inside/").replace("%", f"{scratch.root}/") for word in words.split()]
            ended = forked(partial(_yes, line, room), memory=MEMORY, limit=20)
            outcome = _outcome(ended, before, room, trap, line[0])
            tally.note(
                trap.name, outcome, f"{trap.name}: {words.split()[0]}: {ended.cause}", f"{words} | {ended.last[:400]}"
            )
    shutil.rmtree(room, ignore_errors=True)


def _yes(line: list[str], room: Path) -> None:
    """The command with a standard input on which every question is answered with yes."""
    reader, writer = os.pipe()
    os.write(writer, b"y\n" * 20)
    os.close(writer)
    os.dup2(reader, 0)
    os.chdir(room)
    sys.path.insert(0, "")  # as `python -m anysize` has it
    command(*line)()


def _outcome(ended: Ended, before: dict[str, str], room: Path, trap: traps.Trap, verb: str) -> str:
    after = listing(room / "outside")
    if "RAN" in after:
        return "ran code"
    if after != before:
        return "changed outside"
    if "secret-of-outside" in ended.out:
        return "read outside"
    if "MemoryError" in ended.err or "not enough memory" in ended.err or "bad_alloc" in ended.err:
        return "memory"
    if any(letter in ended.out + ended.err for letter in ("\x1b", "\x07", "\u202e")) or "FORGED" in [
        line.strip()[:6] for line in ended.out.splitlines()
    ]:
        return "forged"
    if ended.status == 0 and trap.refused == verb:
        return "believed"
    if ended.wrong and not ended.wrong.startswith("exit"):
        return ended.wrong
    return "harmless" if ended.status == 0 else "refused"
