"""
Columns of files: pictures, sounds and films that a table names, or holds as bytes. Nothing is decoded here.

A file is known by its suffix, its content by its SHA-256. A table that lies in a folder may name what lies there and
nothing else, so that a stranger's table cannot make anyone read other files.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from anysize.core.arguments import shown
from anysize.core.digests import record
from anysize.core.errors import DataError

if sys.platform == "win32":
    from pathlib import WindowsPath as _Path
else:
    from pathlib import PosixPath as _Path

KINDS = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".mp3", ".ogg", ".m4a"),
    "video": (".mp4", ".mkv", ".webm", ".avi", ".mov"),
}
"""What a file is -> the suffixes that say so."""
BESIDE = ("audio", "video")
"""What a row may lack where it has the other: a sound without its film, a film without its sound."""


class MissingError(DataError):
    """A file that a table names is not there."""

    def __init__(self, sentence: str, given: str, where: str) -> None:
        super().__init__(sentence)
        self.given, self.where = given, where


def kind_of_file(name: object) -> str | None:
    """image, audio or video, by the suffix of a name; None for anything else."""
    suffix = os.path.splitext(os.fspath(name))[1].lower() if isinstance(name, (str, os.PathLike)) else ""
    return next((kind for kind, suffixes in KINDS.items() if suffix in suffixes), None)


class File(_Path):
    """The path of a file that was read, which knows the SHA-256 of its content: two names may stand for one content."""

    __slots__ = ("sha256",)
    sha256: str


class Files:
    """What the cells of a table in `folder` name; without a folder, paths of one's own, wherever they lead."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._root = None if folder is None else folder.resolve()
        self._known: dict[str, File] = {}

    @property
    def count(self) -> int:
        """How many files were read so far."""
        return len(self._known)

    def kinds(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Column -> image, audio, video or parts, for those of a first row whose cells are such."""
        found = {name: self._kind(name, cell) for name, cell in values.items()}
        kinds = {name: kind for name, kind in found.items() if kind is not None}
        lacks = {name: name.lower() for name, cell in values.items() if cell is None and name.lower() in BESIDE}
        return {**kinds, **lacks} if {*kinds.values()} & {*BESIDE} else kinds

    def _kind(self, name: str, cell: Any) -> str | None:
        if isinstance(cell, (list, tuple)):
            return "parts" if cell and all(_is_part(part) for part in cell) else None
        said = name.lower() if name.lower() in KINDS else None
        if isinstance(cell, Mapping) and cell.keys() == {"bytes", "path"}:
            return kind_of_file(cell["path"]) or said
        if isinstance(cell, bytes):
            return said
        kind = kind_of_file(cell)
        return kind if kind is not None and (said or os.path.isfile((self.folder or Path()) / cell)) else None

    def cell(self, kind: str, cell: Any, where: str) -> Any:
        """
        A cell as it is kept: the path of a file that is there, its bytes, or a list of parts, a dict with one of these.

        Raises `DataError`, naming the row, for a file that is missing or elsewhere, or a cell that is something else.
        """
        if kind == "parts":
            if not isinstance(cell, (list, tuple)) or not cell or not all(_is_part(part) for part in cell):
                raise DataError(f"{where}: expected a list of parts, [{{'image': 'a.png'}}, {{'text': 'what?'}}]")
            parts = [next(iter(_said(part).items())) for part in cell]
            return [{of: held if of == "text" else self.cell(of, held, where)} for of, held in parts]
        held = cell
        if isinstance(cell, Mapping) and cell.keys() == {"bytes", "path"}:
            held = cell["path"] if cell["bytes"] is None else cell["bytes"]
        if isinstance(held, bytes):
            return held
        if not isinstance(held, (str, os.PathLike)) or not os.fspath(held):
            given = "missing" if held is None else "no path"
            hint = ", or, where rows may lack it, a first row that names audio and video, one null" * (kind in BESIDE)
            raise DataError(f"{where}: the {kind} is {given}; expected the path of a file{hint}")
        return self._file(os.fspath(held), where)

    def _file(self, given: str, where: str) -> File:
        if given not in self._known:
            path = self._path(given, where)
            self._known[given] = file = File(path)
            file.sha256 = sha256_of(path)
        return self._known[given]

    def _path(self, given: str, where: str) -> Path:
        path = (self.folder or Path()).absolute() / given
        try:
            within = self._root is None or self._is_within(path, PurePosixPath(given))
            is_there = path.is_file()
        except (OSError, RuntimeError, ValueError):  # a name too long, links in a circle, a NUL character
            within, is_there = True, False
        if not within:
            raise DataError(f"{where}: {given!r} leads out of {self.folder}; expected a file within it")
        if not is_there:
            sentence = f"{where}: there is no file {shown(given)}" + (f" in {self.folder}" if self.folder else "")
            raise MissingError(sentence, given, where)
        return path

    def _is_within(self, path: Path, given: PurePosixPath) -> bool:
        assert self._root is not None
        return not given.is_absolute() and ".." not in given.parts and path.resolve().is_relative_to(self._root)


def content_of(cell: Any) -> Any:
    """What stands for the content of a cell that `Files` gave: of a file its SHA-256, of parts the list of theirs."""
    if cell is None:
        return None
    if isinstance(cell, list):
        return [{of: held if of == "text" else content_of(held)} for part in cell for of, held in part.items()]
    return hashlib.sha256(cell).hexdigest() if isinstance(cell, bytes) else cell.sha256


def sha256_of(path: Path) -> str:
    """The SHA-256 of what a file holds, in hex digits. Raises `DataError` if it cannot be read."""
    try:
        return record(path).sha256
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from None


def _is_part(part: Any) -> bool:
    """One of text and a file, by name; a ``type`` beside it says the same again, ``alt`` what a picture shows."""
    said = _said(part) if isinstance(part, Mapping) else {}
    return len(said) == 1 and said.keys() <= {"text", *KINDS} and isinstance(said.get("text", ""), str)


def _said(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part without its type and alt, and without what parquet fills in for names that others have."""
    return {name: held for name, held in part.items() if name not in ("type", "alt") and held is not None}
