"""What a model is to be run on: texts or vectors in memory, a file of them, or one text."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.data.files.media import BESIDE, kind_of_file
from anysize.core.data.files.media import KINDS as _MEDIA
from anysize.core.data.files.rows import SUFFIXES as ROW_FILES
from anysize.core.data.files.rows import lines_of, short_list
from anysize.core.data.files.vectors import SUFFIXES as VECTOR_FILES
from anysize.core.data.held_out import key_of
from anysize.core.data.read import is_drawn, read
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.contract import NestedModel

LINES = (".txt", ".txt.gz")
_SEVERAL = {"vector": "vectors", "image": "images", "parts": "several parts (a picture and a question)"}


@dataclass(frozen=True)
class Inputs:
    """Items, what they are called in a sentence, and what tells them from others."""

    items: Items
    name: str
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What they are, for a sentence."""
        if self.of in _MEDIA and len(self.items) == 1:
            return f"{self.name} is {'an image' if self.of == 'image' else self.of}"
        return f"{self.name} holds {_several(self.of)}"

    @property
    def of(self) -> str:
        """What kind of thing they are, as a model's `reads` names it."""
        return self.items.of


def inputs_of(given: Any) -> Inputs:
    """
    `given` is `Items`, the path of a .txt file (an item a line), a folder of .txt files alone (each an item, called as
    its file is), or whatever `read` takes, also in memory.

    A string that is no path of a file or folder is itself the one text. Raises `DataError` for what is none of these,
    for what looks like a path and is not there, and for a file that holds nothing.
    """
    if isinstance(given, os.PathLike):
        return _file(Path(given))
    if isinstance(given, str):
        if os.path.exists(given):
            return _file(Path(given))
        if is_drawn(given):
            data = read(given)
            return Inputs(_items(data), data.name, data.fingerprint, data.notes)
        _refuse_a_path(given)
        return held(Items(["0"], [given], numbered=True), "what was given")
    if isinstance(given, Items):
        return held(given, "the items")
    data = read(given)
    return Inputs(_items(data), data.name, data.fingerprint, data.notes)


def together(words: Sequence[str]) -> Inputs:
    """
    One item of several parts, each a text or the path of a picture, a sound or a film: a picture and a question.

    Raises `DataError` for a file of another kind, or what looks like a path and is not there.
    """
    parts = []
    for word in words:
        kind = kind_of_file(word)
        if kind is None and os.path.exists(word):
            raise DataError(f"{word} cannot stand beside a text; expected a picture, a sound or a film")
        if kind is None or not os.path.exists(word):
            _refuse_a_path(word)
            kind = "text"
        parts.append({kind: word})
    return held(Items(["0"], [parts], "parts", numbered=True), "what was given")


def apart(inputs: Inputs, reads: Sequence[str]) -> Inputs:
    """What stands together as one item, as several where a model reads no parts, but what all of these are."""
    items = inputs.items
    if items.of != "parts" or "parts" in reads or len(items) != 1:
        return inputs
    kinds = {kind for part in items.rows[0] for kind in part}
    if len(kinds) != 1 or (kind := kinds.pop()) not in reads:
        return inputs
    rows = [part[kind] for part in items.rows[0]]
    names = [str(place) for place in range(len(rows))] if kind == "text" else [Path(row).name for row in rows]
    if len({*names}) < len(names):  # of one name in several folders
        names = [str(row) for row in rows]
    if len({*names}) < len(names):
        raise DataError(f"{short_list(sorted(names))} are given, one of them twice; give each once")
    return held(Items(names, rows, kind), inputs.name)


def _items(data: Data) -> Items:
    """What there is to run on: the items, lists of parts, pictures with a question each, or films with their sounds."""
    table = data.table
    if data.corpus is None and table is not None:
        files = [name for name, kind in table.kinds.items() if kind in _MEDIA]
        whole = [name for name, kind in table.kinds.items() if kind == "parts"]
        rows: list[Any] = list(table[whole[0]]) if len(whole) == 1 else []
        if "question" in table and table.kinds.get("image") == "image":
            pairs = zip(table["image"], table["question"], strict=True)
            rows = [[{"image": image}, {"text": question}] for image, question in pairs]
        if {*BESIDE} <= table.kinds.keys():
            pairs = zip(*(table[axis] for axis in BESIDE), strict=True)
            rows = [[{axis: one} for axis, one in zip(BESIDE, pair, strict=True) if one is not None] for pair in pairs]
        if rows:
            named = [str(one) for one in table["id"]] if "id" in table else []
            known = len({*named}) == len(rows)
            ids = named if known else [str(row) for row in range(len(rows))]
            return Items(ids, rows, "parts", numbered=not known)
        if len(files) == 1 and table.kinds[files[0]] != "image":  # each by its row: two may hold the same
            return Items(
                [str(row) for row in range(len(table))], list(table[files[0]]), table.kinds[files[0]], numbered=True
            )
    return data.items()


def check_reads(model: NestedModel, name: str, inputs: Inputs) -> None:
    """Raise `AnysizeError` if a model called `name` does not read such things."""
    if inputs.of not in model.reads:
        raise AnysizeError(f"{name} reads {' and '.join(map(_several, model.reads))}; {inputs.what}")


def _several(kind: str) -> str:
    return _SEVERAL.get(kind, kind)


def _file(path: Path) -> Inputs:
    if path.is_file() and path.name.lower().endswith(LINES):
        lines = [(number, line.strip()) for number, line in lines_of(path) if line.strip()]
        if not lines:
            raise DataError(f"{path} holds no text; expected one a line")
        return held(Items([str(number) for number, _ in lines], [line for _, line in lines]), str(path))
    media = kind_of_file(path.name)
    if media is not None and path.is_file():
        return held(Items([path.name], [str(path)], media), str(path))
    if path.is_dir() and (texts := _texts(path)):
        names = [one.relative_to(path).with_suffix("").as_posix() for one in texts]
        return held(Items(names, [_text(one) for one in texts]), str(path))
    data = read(path)
    return Inputs(_items(data), str(path), data.fingerprint, data.notes)


def _texts(folder: Path) -> list[Path]:
    """The files of a folder that holds .txt files and nothing else, but for hidden ones; none of another folder."""
    there = sorted(one for one in folder.rglob("*") if one.is_file() and not one.name.startswith("."))
    return there if all(one.suffix.lower() == ".txt" for one in there) else []


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _refuse_a_path(text: str) -> None:
    known = (*LINES, *ROW_FILES, *VECTOR_FILES, *(end for ends in _MEDIA.values() for end in ends))
    if not text.strip():
        raise DataError("the text to run on is empty; give some words, a file, or - for standard input")
    if len(text.split()) == 1 and (text.lower().endswith(known) or text.startswith((".", "/", "~"))):
        raise DataError(f"{text} does not exist; expected a file, or a text that is not written like the name of one")


def held(items: Items, name: str) -> Inputs:
    """`Inputs` of items in memory. Raises `DataError` if there are none."""
    if not len(items):
        raise DataError(f"{name} holds nothing to run on")
    digest = hashlib.sha256("\0".join([f"{len(items)}", *items.ids]).encode("utf-8", "surrogatepass"))
    if items.of == "vector":
        vectors = np.ascontiguousarray(items.rows)
        digest.update(f"{vectors.shape} {vectors.dtype}".encode() + vectors.tobytes())
    else:
        for row in items.rows:
            said = key_of(row)
            digest.update(f"{len(said)}\0{said}".encode("utf-8", "surrogatepass"))
    return Inputs(items, name, digest.hexdigest())
