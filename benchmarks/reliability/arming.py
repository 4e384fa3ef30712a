"""How hostile artefacts are armed: each function puts one trap into a folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.artefacts import WIDTH, Scratch
from benchmarks.reliability.harness import forked

Arm = Callable[[Scratch, Path, Path], None]
"""(scratch, inside, outside): put the trap into `inside`; `outside` must not be touched."""


def _model(scratch: Scratch, inside: Path, name: str = "head") -> Path:
    return Path(shutil.copytree(scratch / name, inside / "m"))


def _index(scratch: Scratch, inside: Path, name: str = "index-vectors") -> Path:
    return Path(shutil.copytree(scratch / name, inside / "i"))


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def _code(outside: Path) -> str:
    return f"import os\nos.mkdir({str(outside / 'RAN')!r})\nclass Evil:\n    pass\n"


def auto_map(part: str, file: str, key: str) -> Arm:
    """A configuration that names a class in a file of the folder."""

    def arm(scratch: Scratch, inside: Path, outside: Path) -> None:
        folder = _model(scratch, inside) / part
        (folder / "evil.py").write_text(_code(outside))
        config = json.loads((folder / file).read_text())
        value = ["evil.Evil", "evil.Evil"] if key == "AutoTokenizer" else "evil.Evil"
        config["auto_map"] = {key: value}
        config.pop("tokenizer_class", None)
        if key == "AutoModel":
            config["model_type"] = "evil"
        (folder / file).write_text(json.dumps(config))

    return arm


def modules(kind: str) -> Arm:
    """A modules.json that names a class that is none of sentence-transformers'."""

    def arm(scratch: Scratch, inside: Path, outside: Path) -> None:
        folder = _model(scratch, inside) / "encoder"
        (folder / "evil.py").write_text(_code(outside))
        listed = json.loads((folder / "modules.json").read_text())
        listed[1]["type"] = kind
        (folder / "modules.json").write_text(json.dumps(listed))

    return arm


def pickled(source: str, part: str, names: tuple[str, ...], instead: str) -> Arm:
    """A pickle that makes a folder when it is loaded, in the place of weights."""

    def arm(scratch: Scratch, inside: Path, outside: Path) -> None:
        folder = _model(scratch, inside, source) / part
        for name in names:
            (folder / name).write_bytes(pickle.dumps(_Runs(outside / "RAN")))
        if instead:
            (folder / instead).unlink()

    return arm


def pickled_zip(scratch: Scratch, inside: Path, outside: Path) -> None:
    """As torch writes it: a zip with a pickle in it."""
    folder = _model(scratch, inside, "dictionary")
    with zipfile.ZipFile(folder / "ae.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Runs(outside / "RAN")))
        archive.writestr("archive/version", "3")


def pickled_npy(scratch: Scratch, inside: Path, outside: Path) -> None:
    """An object array."""
    stream = io.BytesIO()
    np.save(stream, np.array([_Runs(outside / "RAN")], dtype=object))
    (inside / "d.npy").write_bytes(stream.getvalue())


def linked(name: str) -> Arm:
    """A place to write to that is a link to the outside, or holds one."""

    def arm(scratch: Scratch, inside: Path, outside: Path) -> None:
        if name == "segments":
            (inside / "i").mkdir()
            (inside / "i" / ".anysize-index.lock").write_text("")
            (inside / "i" / "segments").symlink_to(outside)
        elif name == "segments of an index":
            segments = _index(scratch, inside) / "segments"
            shutil.rmtree(segments)
            segments.symlink_to(outside)
        elif name == "a segment":
            (_index(scratch, inside) / "segments" / "old").symlink_to(outside)
        elif name == "the lock":
            lock = _index(scratch, inside) / ".anysize-index.lock"
            lock.unlink(missing_ok=True)
            lock.symlink_to(outside / "lock")
        elif name == "a folder in a model":
            shutil.rmtree(_model(scratch, inside) / "encoder")
            (inside / "m" / "encoder").symlink_to(outside)
        elif name == "the work":
            (inside / "m.partial").symlink_to(outside)
        else:
            (inside / name).symlink_to(outside if name != "dangling" else outside / "new")
            if name in ("m", "c"):
                for file in ("anysize.json", "modules.json"):
                    (outside / file).write_text("{}")

    return arm


def manifest(change: Callable[[dict[str, Any], Path], None]) -> Arm:
    """An index whose manifest is signed anew after a change."""

    def arm(scratch: Scratch, inside: Path, outside: Path) -> None:
        folder = _index(scratch, inside)
        value = json.loads((folder / "index.json").read_text())
        del value["sha256"]
        shutil.copytree(folder / "segments", outside / "segments")
        change(value, outside)
        (folder / "index.json").write_text(
            json.dumps({**value, "sha256": hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()})
        )

    return arm


def segment_at(name: Callable[[str, Path], str]) -> Callable[[dict[str, Any], Path], None]:
    """A manifest whose first segment has another name."""

    def change(value: dict[str, Any], outside: Path) -> None:
        value["segments"][0]["name"] = name(value["segments"][0]["name"], outside)

    return change


def setting(**changes: Any) -> Callable[[dict[str, Any], Path], None]:
    """A manifest with other values, of its first segment where that has the name."""

    def change(value: dict[str, Any], outside: Path) -> None:
        for name, new in changes.items():
            (value["segments"][0] if name in value["segments"][0] else value)[name] = new

    return change


def file_at(value: dict[str, Any], outside: Path) -> None:
    """A manifest that finds a segment's file outside."""
    files = value["segments"][0]["files"]
    name = next(iter(files))
    files[f"../../../outside/segments/{value['segments'][0]['name']}/{name}"] = files.pop(name)


def data(name: str, content: Callable[[], bytes]) -> Arm:
    """A file of data, named d with the suffix of `name`."""

    def write(scratch: Scratch, inside: Path, outside: Path) -> None:
        (inside / name).write_bytes(content())

    return write


def header(length: int | None, entry: dict[str, Any] | None = None) -> Arm:
    """A model whose weights claim a header, or a tensor, of impossible size."""

    def arm(scratch: Scratch, inside: Path, outside: Path) -> None:
        file = _model(scratch, inside, "projection") / "weights.safetensors"
        content = file.read_bytes()
        if length is not None:
            file.write_bytes(length.to_bytes(8, "little") + content[8:])
            return
        size = int.from_bytes(content[:8], "little")
        value = json.loads(content[8 : 8 + size])
        value[next(iter(value))].update(entry or {})
        new = json.dumps(value).encode()
        file.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + size :])

    return arm


def special(name: str, kind: str) -> Arm:
    """A FIFO, a socket's place or a device where a file is expected."""

    def arm(scratch: Scratch, inside: Path, outside: Path) -> None:
        if kind == "fifo":
            os.mkfifo(inside / name)
        else:
            (inside / name).symlink_to(kind)

    return arm


def ids(scratch: Scratch, inside: Path, outside: Path) -> None:
    """Ids and texts that would write on the terminal."""
    rows = [{"_id": "a\nFORGED 0.99", "text": "balan \x1b[2J\x07"}, {"_id": "\x1b[31mb", "text": "bamer \u202e"}]
    (inside / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    from anysize.search import Index

    names = [row["_id"] for row in rows]
    forked(lambda: Index.build(inside / "i", None, np.eye(2, WIDTH, dtype=np.float32), ids=names) and None)


def _zip_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300 << 20))
        archive.writestr("archive/version", "3")
    return stream.getvalue()


def bomb(scratch: Scratch, inside: Path, outside: Path) -> None:
    """An ae.pt that unpacks to far more than it is."""
    (_model(scratch, inside, "dictionary") / "ae.pt").write_bytes(_zip_bomb())


def auto_lm(scratch: Scratch, inside: Path, outside: Path) -> None:
    """A language model's tokenizer that names a class in a file of the folder."""
    folder = _model(scratch, inside, "quantized-lm") / "tokenizer"
    (folder / "evil.py").write_text(_code(outside))
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    config["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    config.pop("tokenizer_class", None)
    file.write_text(json.dumps(config))


def base_modules(scratch: Scratch, inside: Path, outside: Path) -> None:
    """An encoder to start from whose modules.json names a class in a file of the folder."""
    folder = Path(shutil.copytree(scratch / "base", inside / "b"))
    (folder / "evil.py").write_text(_code(outside))
    listed = json.loads((folder / "modules.json").read_text())
    listed[1]["type"] = "evil.Evil"
    (folder / "modules.json").write_text(json.dumps(listed))


def dense(scratch: Scratch, inside: Path, outside: Path) -> None:
    """An encoder whose Dense layer names a function in a file of the working folder."""
    folder = Path(shutil.copytree(scratch / "cut-head", inside / "b"))
    (inside.parent / "evil.py").write_text(_code(outside))
    file = next(folder.glob("*_Dense/config.json"))
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "activation_function": "evil.Evil"}))
