"""Damage to every region of every file of every kind of artefact: it is refused, or it changes nothing."""

from __future__ import annotations

import random
import shutil
from functools import partial
from pathlib import Path

from benchmarks.reliability import use
from benchmarks.reliability.artefacts import Scratch
from benchmarks.reliability.harness import Ended, Tally, forked, taught
from benchmarks.reliability.mutations import damages

CLAIM = "A damaged file is refused in one sentence or changes nothing: no wrong answer in silence, no traceback"
GOAL = 5000
WORDS = {
    "data": "small artefacts made by the verbs, of every kind; their formats without checksums (those of other "
    "libraries, data, a frontier) can hold other values, and those trials are counted apart",
    "note": "Damage: bits flipped, ranges zeroed, files cut, extended, removed, exchanged, added or made folders, "
    "JSON and headers edited; used: info, loading whole and at the smallest size, encoding, searching.",
}
KINDS = (*use.MODELS, *use.FOREIGN, *use.ENCODERS, *use.INDEXES, *use.FILES, *use.DATA)
MEMORY = 6 << 30

WRONG = ("silently wrong", "traceback", "crash", "hang", "unclear")
APART: tuple[str, ...] = ()


def run(scratch: Scratch, trials: int, rng: random.Random, tally: Tally) -> None:
    """`trials` damages, drawn from all that there are; at least one of each kind of artefact."""
    room = scratch / "corruption"
    listed = [(name, place) for name in KINDS for place, _ in enumerate(damages(scratch / name))]
    rng.shuffle(listed)
    while len(listed) < trials:  # the generators draw anew each time, so another round is another damage
        listed += listed
    right: dict[str, Ended] = {}
    for name, place in listed[:trials]:
        if name not in right:
            right[name] = taught(partial(use.answer, name, scratch / name), memory=MEMORY)
            if right[name].status:
                raise RuntimeError(f"{name} cannot be used while it is whole:\n{right[name].err}")
        shutil.rmtree(room, ignore_errors=True)
        target = room / Path(name).name
        room.mkdir()
        copy = shutil.copytree if (scratch / name).is_dir() else shutil.copyfile
        copy(scratch / name, target)
        file, kind, damage = list(damages(target))[place]
        did = damage(file, rng)
        ended = _used(name, target)
        example = f"{name} {file.relative_to(room)}: {did} | {ended.last}"
        outcome = _outcome(name, ended, right[name])
        cause = f"{_kind_of(file, target)} {kind}" if outcome == "silently wrong" else ended.cause
        tally.note(name.replace("data/", "data: "), outcome, cause, example)
    shutil.rmtree(room, ignore_errors=True)


def _used(name: str, path: Path) -> Ended:
    return forked(lambda: use.answer(name, path), memory=MEMORY)


def _outcome(name: str, ended: Ended, right: Ended) -> str:
    if ended.status == 0:
        if ended.answer == right.answer:
            return "no effect"
        return "other values" if name in use.WITHOUT_CHECKSUM else "silently wrong"
    if "are not finite" in ended.err and "ArithmeticError" in ended.err:
        return "silently wrong"
    if ended.refused and ended.status == 2:
        return "refused"
    return ended.wrong or "unclear"


def _kind_of(file: Path, target: Path) -> str:
    """A file's name without what is drawn at random."""
    parts = file.relative_to(target).parts
    return "/".join("SEGMENT" if len(part) > 18 and part[:6].isdecimal() else part for part in parts) or file.name
