"""Several processes that write to and search one index: every answer is that of some committed generation."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.artefacts import WIDTH, Scratch
from benchmarks.reliability.harness import Tally, forked

CLAIM = "While others add, upsert, delete, compact and rebuild, every search answers as some committed generation does"
GOAL = 2000
WORDS = {
    "data": "an index of 300 vectors of 16 dims; two writers, one that compacts, "
    "two readers that open anew and one that refreshes",
    "note": "After every commit its writer, who alone may write, notes what the generation answers; readers note the "
    "generation they read and what it answered.",
}
SECONDS = 4.0

WRONG = ("another answer", "traceback", "crash", "hang", "unclear")
APART: tuple[str, ...] = ("written", "busy")


def run(scratch: Scratch, trials: int, rng: random.Random, tally: Tally) -> None:
    """Rounds of some seconds until `trials` searches were compared."""
    room = scratch / "crowds"
    while tally.trials < trials:
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir()
        _round(room, rng.randrange(2**32), tally)
    shutil.rmtree(room, ignore_errors=True)


def _round(room: Path, seed: int, tally: Tally) -> None:
    parts = [(_writer, 0), (_writer, 1), (_compactor, 2), (_opener, 3), (_opener, 4), (_refresher, 5)]
    made = forked(lambda: _make(room))
    assert made.status == 0, made.err
    ended = forked(lambda: _together(parts, room, seed), limit=SECONDS + 60)
    notes = [json.loads(line) for file in sorted(room.glob("notes-*")) for line in file.read_text().splitlines()]
    right = {note["generation"]: note["answer"] for note in notes if note["kind"] == "written"}
    for note in notes:
        if note["kind"] == "read":
            # A generation that nobody noted is a compaction, which answers as the one before it.
            known = right[max(generation for generation in right if generation <= note["generation"])]
            outcome = "right" if note["answer"] == known else "another answer"
            tally.note(note["by"], outcome, note["by"], str(note)[:300])
        else:
            tally.note(note.get("by", "writer"), note["kind"], note.get("cause", ""), note.get("cause", ""))
    if ended.wrong:
        tally.note("all", ended.wrong, ended.cause, ended.last)


def _together(parts: list[tuple[Any, int]], room: Path, seed: int) -> None:
    for part, number in parts:
        _start(part, room, seed + number)
    for _ in parts:
        os.wait()


def _start(part: Any, room: Path, seed: int) -> None:
    """A grandchild that acts for some seconds and notes what happened."""
    if os.fork():
        return
    with (room / f"notes-{seed}").open("w", buffering=1) as notes:

        def note(**what: Any) -> None:
            notes.write(json.dumps(what) + "\n")

        try:
            part(room / "i", random.Random(seed), note)
        except BaseException as error:
            import traceback

            place = traceback.extract_tb(error.__traceback__)[-1]
            note(
                kind="traceback", by=part.__name__, cause=f"{Path(place.filename).name}:{place.lineno} {error!r}"[:300]
            )
        finally:
            os._exit(0)


def _make(room: Path) -> None:
    from anysize.search import Index

    index = Index.build(room / "i", None, np.random.default_rng(0).standard_normal((300, WIDTH), np.float32))
    (room / "notes-first").write_text(json.dumps({"kind": "written", **_said(index)}) + "\n")


def _said(index: Any) -> dict[str, Any]:
    queries = np.random.default_rng(1).standard_normal((2, WIDTH)).astype(np.float32)
    found = index.search_many(queries, k=12)
    return {"generation": index.manifest.generation, "answer": [[hit.id for hit in one.hits] for one in found]}


def _writer(path: Path, rng: random.Random, note: Any) -> None:
    from anysize.core.errors import AnysizeError
    from anysize.core.files import lock
    from anysize.search import Index

    end, index, number = time.monotonic() + SECONDS, Index.open(path), 0
    while time.monotonic() < end:
        try:
            # What changes answers is noted before the next may: with the product's own lock alone nobody could tell
            # which answers belong to a generation. Compactions change none and come in between.
            with lock(path.parent / "turn", "another writer's turn"):
                does, number = rng.choice(("add", "upsert", "delete", "delete", "rebuild")), number + 1
                names = [f"{os.getpid()}-{number}-{row}" for row in range(300 if does == "rebuild" else 5)]
                draw = np.random.default_rng(rng.randrange(2**32))
                rows = draw.standard_normal((len(names), WIDTH)).astype(np.float32)
                index.refresh()
                there = [hit.id for hit in index.search(np.ones(WIDTH, np.float32), k=len(index)).hits]
                if does == "add":
                    index.add(rows, ids=names)
                elif does == "upsert":
                    index.upsert(rows, ids=[*rng.sample(there, 3), *names[3:]])
                elif does == "delete":
                    index.delete(rng.sample(there, 4))
                else:
                    index = Index.build(path, None, rows, ids=names)
                note(kind="written", by=does, **_said(index))
        except AnysizeError as error:
            if "another" not in str(error):
                raise
            note(kind="busy", by="writer")
        time.sleep(rng.uniform(0, 0.02))


def _compactor(path: Path, rng: random.Random, note: Any) -> None:
    from anysize.core.errors import AnysizeError
    from anysize.search import Index

    end, index = time.monotonic() + SECONDS, Index.open(path)
    while time.monotonic() < end:
        try:
            index.compact()
        except AnysizeError as error:
            if "another process is writing" not in str(error):
                raise
            note(kind="busy", by="compactor")
        time.sleep(rng.uniform(0, 0.05))


def _opener(path: Path, rng: random.Random, note: Any) -> None:
    from anysize.search import Index

    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        note(kind="read", by="opened anew", **_said(Index.open(path)))


def _refresher(path: Path, rng: random.Random, note: Any) -> None:
    from anysize.search import Index

    end, index = time.monotonic() + SECONDS, Index.open(path)
    while time.monotonic() < end:
        if rng.random() < 0.3:
            index.refresh()
        note(kind="read", by="kept or refreshed", **_said(index))
