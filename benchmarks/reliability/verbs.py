"""Every verb that writes, as one thing to disturb: what stands before, the command, and what may stand after."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability import use
from benchmarks.reliability.artefacts import FITS, Scratch
from benchmarks.reliability.harness import command, forked, listing


@dataclass(frozen=True)
class Verb:
    """A command in a room of its own. In `words`, @ stands for the room, which holds a link-free copy of `given`."""

    name: str
    words: str = ""
    given: tuple[str, ...] = ("data",)
    old: dict[str, str] = field(default_factory=dict)
    """What stands in the room before: name there -> artefact."""
    target: str = "out"
    kind: str = "bytes"
    """How its state is told: ``bytes`` of all files, ``index`` by its answers, ``files`` by being whole."""
    call: Callable[[Path], Any] | None = None
    """In place of words: what has no verb."""

    def prepare(self, scratch: Scratch, room: Path) -> None:
        """An empty room with what the command needs."""
        shutil.rmtree(room, ignore_errors=True)
        (room / "tmp").mkdir(parents=True)
        for name, source in {**{name: name for name in self.given}, **self.old}.items():
            (shutil.copytree if (scratch / source).is_dir() else shutil.copyfile)(scratch / source, room / name)

    def line(self, room: Path, resumed: bool = False) -> list[str]:
        """The command line's words."""
        return [word.replace("@", f"{room}/") for word in self.words.split()] + ["--resume"] * resumed

    def act(self, room: Path, resumed: bool = False) -> None:
        """Run it in this process, with temporary files in the room."""
        tempfile.tempdir = str(room / "tmp")
        if self.call is not None:
            self.call(room)
        else:
            command(*self.line(room, resumed))()

    def resume(self, room: Path) -> bool:
        """Whether an unfinished run stands there."""
        return (room / f"{self.target}.partial").exists()

    def state(self, room: Path) -> Any:
        """What stands at the target, so that two can be compared."""
        place = room / self.target
        if self.kind == "files":
            return _whole_files(room)
        if not place.exists() or (self.kind == "index" and not (place / "index.json").exists()):
            return None
        if self.kind == "index":
            said = forked(lambda: _answers(place))
            return said.answer if said.status == 0 else f"broken: {said.last}"
        return listing(place) if place.is_dir() else listing(place.parent)[place.name]

    def alike(self, one: Any, other: Any) -> bool:
        """Whether two states have the same weights, though they may tell their history otherwise."""
        told = ("anysize.json", "encoder/tokenizer.json")
        if not isinstance(one, dict) or not isinstance(other, dict):
            return bool(one == other)
        return one.keys() == other.keys() and all(one[name] == other[name] for name in one if name not in told)

    def names(self, room: Path) -> list[str]:
        """Every name in the room but those of segments, whose names are drawn at random: these are counted."""
        found = [name for name in listing(room) if not name.startswith("tmp")]
        drawn = [name for name in found if "segments/" in name]
        kept = [name for name in found if "segments/" not in name]
        return kept + [f"segments: {number}" for number in range(len(drawn))]


def _answers(place: Path) -> Any:
    from anysize.search import Index

    index = Index.open(place)
    index.verify()
    queries: Any = use.TEXTS if index.manifest.source == "texts" else use.ROWS
    return [sorted((hit.id, round(hit.score, 5), hit.text) for hit in one.hits)
            for one in index.search_many(queries, k=len(index))]  # fmt: skip


def _whole_files(room: Path) -> str:
    """Of outputs that hold times, and so differ from run to run: whether each that stands is whole."""
    for name in ("model/frontier.json", "f.json", "f.html", "f.png", "names.json"):
        file = room / name
        if not file.exists():
            continue
        content = file.read_bytes()
        whole = {
            ".json": _is_json,
            ".html": lambda c: c.rstrip().endswith(b"</html>"),
            ".png": lambda c: c[-8:-4] == b"IEND",
        }
        if not whole[file.suffix](content):
            return f"broken: {name} of {len(content)} bytes"
    return "whole"


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _add(room: Path) -> None:
    from anysize.search import Index

    Index.open(room / "out").add([f"balan {n}" for n in range(40)], ids=[f"new{n}" for n in range(40)])


def _upsert(room: Path) -> None:
    from anysize.search import Index

    Index.open(room / "out").upsert([f"balan {n}" for n in range(40)], ids=[str(n) for n in range(40, 80)])


def _delete(room: Path) -> None:
    from anysize.search import Index

    Index.open(room / "out").delete([str(n) for n in range(5, 25)])


def _compact(room: Path) -> None:
    from anysize.search import Index

    Index.open(room / "out").compact()


def _fit(name: str, *given: str, old: str | None = None) -> Verb:
    return Verb(f"fit {name}", f"fit {FITS[name]} --out @out", ("data", *given), {"out": old} if old else {})


VERBS = (
    _fit("projection", old="head"),
    _fit("head", "base"),
    _fit("layered", "base", old="layered"),
    _fit("quantized", "base"),
    _fit("tasks", "base"),
    _fit("classifier", "head", "base", old="projection"),
    _fit("sae", old="csr"),
    Verb(
        "fit mlm",
        "fit @data/texts.jsonl --method mlm --model @bert --epochs 1 --batch-size 16 --out @out",
        ("data", "bert"),
    ),
    Verb("cut head", "cut @head --size dims=8 --out @out", ("head", "base"), {"out": "cut-layered"}),
    Verb("cut saelens", "cut @sae --size latents=32 --out @out", ("sae",)),
    Verb("prune", "prune @sae @data/vectors.npy --latents 8,16 --out @out", ("data", "sae"), {"out": "saelens"}),
    Verb(
        "measure",
        "measure @model @data/pairs.jsonl --arms truncate --json @f.json --html @f.html --png @f.png",
        ("data", "base"),
        {"model": "head"},
        kind="files",
    ),
    Verb(
        "index build",
        "index - @data/vectors.npy --dims 4,8,16 --block 4 --out @out",
        ("data",),
        {"out": "index-texts", "head": "head", "base": "base"},
        kind="index",
    ),
    Verb("index codes", "index - @data/many.npy --dims 8,16 --block 8 --out @out", ("data",), kind="index"),
    Verb(
        "index texts",
        "index @head @data/texts.jsonl --out @out",
        ("data", "head", "base"),
        {"out": "index-vectors"},
        kind="index",
    ),
    Verb("index add", old={"out": "index-texts"}, given=("head", "base"), kind="index", call=_add),
    Verb("index upsert", old={"out": "index-texts"}, given=("head", "base"), kind="index", call=_upsert),
    Verb("index delete", old={"out": "index-vectors"}, given=(), kind="index", call=_delete),
    Verb("index compact", old={"out": "index-deletions"}, given=("head", "base"), kind="index", call=_compact),
)
