"""
Reading a segment: memory-mapped coordinate blocks, prefix norms, ids and texts.

Everything is mapped when the segment is opened, so that a reader keeps its generation after a writer unlinks it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.errors import CheckpointError
from anysize.core.files import sha256
from anysize.search.manifest import SEGMENTS, FileEntry, Manifest, SegmentEntry
from anysize.search.plans import UNCHECKED
from anysize.search.sparse import Lists

if TYPE_CHECKING:
    from anysize.search.codes import Codes

Rows = slice | np.ndarray


def block_name(low: int, high: int) -> str:
    """File of the coordinates [low, high) of all rows: float32 (rows, high - low)."""
    return f"dims-{low}-{high}.f32"


def norms_name(dims: int) -> str:
    """File of the lengths of all rows' first `dims` coordinates: float32 (rows,)."""
    return f"norms-{dims}.f32"


class Segment:
    """Rows of an index that were written together. Immutable but for which of them are deleted."""

    def __init__(self, directory: Path, manifest: Manifest, entry: SegmentEntry) -> None:
        self.rows = entry.rows
        self.entry = entry
        self.bounds = manifest.bounds
        self.directory = directory
        home = directory / SEGMENTS / entry.name
        maps = {name: _map(home / name, file) for name, file in entry.files.items()}
        self._blocks = [
            self._matrix(home, maps, block_name(low, high), high - low) for low, high in self._spans(0, manifest.dims)
        ]
        self._norms = {
            dims: self._matrix(home, maps, norms_name(dims), 1)[:, 0]
            for dims in self.bounds[1:]
            if norms_name(dims) in maps
        }
        self._ids = _Strings(home, maps, "ids", self.rows)
        self._texts = _Strings(home, maps, "texts", self.rows) if "texts.utf8" in maps else None
        self.lists = Lists(maps, self.rows, manifest.sparse.latents) if manifest.sparse else None
        """The sparse codes of the rows, where the index has any."""
        self._scanners = {name.removesuffix(".faiss"): maps[name] for name in maps if name.endswith(".faiss")}
        self._loaded: dict[str, Codes] = {}
        self.plans = entry.plans or UNCHECKED
        """How it is searched by default."""
        self.deleted = np.zeros(0, np.int64)
        if entry.deleted and entry.deleted_file:
            raw = _map(directory / SEGMENTS / entry.deleted, entry.deleted_file)
            self.deleted = np.array(raw.view(np.int64))

    def pieces(self, low: int, high: int, rows: Rows) -> Iterator[tuple[int, int, np.ndarray]]:
        """
        The coordinates [low, high) of `rows`, block by block: (from, to, float32 (rows, to - from)).

        A slice of rows gives views on the map; an array of row numbers gives copies of those rows alone.
        """
        for number, (start, stop) in enumerate(zip(self.bounds, self.bounds[1:], strict=False)):
            a, b = max(low, start), min(high, stop)
            if a < b:
                block = self._blocks[number]
                inside = block if (a, b) == (start, stop) else block[:, a - start : b - start]
                yield a, b, (inside[rows] if isinstance(rows, slice) else inside.take(rows, axis=0))

    def norms(self, dims: int, rows: Rows) -> np.ndarray:
        """
        Lengths of the first `dims` coordinates of `rows`: float32 (rows,).

        Stored where a block ends; else from the nearest stored length before and the coordinates after it. Infinite
        where a length is beyond float32.
        """
        if dims in self._norms:
            return self._norms[dims][rows]
        start = max((stored for stored in self._norms if stored < dims), default=0)
        squared = np.square(self._norms[start][rows], dtype=np.float64) if start else np.float64(0)
        for _, _, part in self.pieces(start, dims, rows):
            squared = squared + np.einsum("nd,nd->n", part, part, dtype=np.float64)
        with np.errstate(over="ignore"):
            return np.sqrt(squared).astype(np.float32)

    def dead(self, rows: np.ndarray) -> np.ndarray:
        """Which of `rows` are deleted."""
        if not len(self.deleted):
            return np.zeros(len(rows), bool)
        return self.deleted[np.searchsorted(self.deleted[:-1], rows)] == rows

    def vectors(self, rows: Rows) -> np.ndarray:
        """Whole vectors, float32 (rows, dims)."""
        if self.bounds[-1] == 0:
            return np.zeros((len(range(self.rows)[rows]) if isinstance(rows, slice) else len(rows), 0), np.float32)
        return np.concatenate([part for _, _, part in self.pieces(0, self.bounds[-1], rows)], axis=1)

    def alive(self) -> np.ndarray:
        """Row numbers that are not deleted, int64 ascending."""
        mask = np.ones(self.rows, bool)
        mask[self.deleted] = False
        return np.flatnonzero(mask)

    def ids(self, rows: np.ndarray) -> list[str]:
        """The ids of many rows."""
        names = self._ids.all()
        return [names[row] for row in rows.tolist()]

    def id(self, row: int) -> str:
        """The id of one row; only its bytes are read."""
        return self._ids[row]

    def text(self, row: int) -> str | None:
        """The text of one row; only its bytes are read."""
        return self._texts[row] if self._texts else None

    def scanner(self, name: str) -> Codes | None:
        """The scanner called "codes-64" or "hnsw-64", or None if this segment is too small to have one."""
        if name not in self._scanners:
            return None
        if name not in self._loaded:
            from anysize.search.codes import Codes

            where = self.directory / SEGMENTS / self.entry.name / f"{name}.faiss"
            self._loaded[name] = Codes(self._scanners[name], where)
        return self._loaded[name]

    def verify(self) -> None:
        """Compare every file with its checksum. Raises `CheckpointError` naming the first that differs."""
        home = self.directory / SEGMENTS
        checks = [(home / self.entry.name / name, file) for name, file in self.entry.files.items()]
        if self.entry.deleted and self.entry.deleted_file:
            checks.append((home / self.entry.deleted, self.entry.deleted_file))
        for path, file in checks:
            if sha256(path) != file.sha256:
                raise CheckpointError(f"{path} was altered (its checksum differs); build the index again")

    def _spans(self, low: int, high: int) -> list[tuple[int, int]]:
        return [(a, b) for a, b in zip(self.bounds, self.bounds[1:], strict=False) if low <= a and b <= high]

    def _matrix(self, home: Path, maps: dict[str, np.ndarray], name: str, width: int) -> np.ndarray:
        if name not in maps:
            raise CheckpointError(f"{home / name} is not listed in the manifest; build the index again")
        return maps[name].view(np.float32).reshape(self.rows, width)


class _Strings:
    """Strings in one UTF-8 file, found through offsets, so that one is read without the others."""

    def __init__(self, home: Path, maps: dict[str, Any], name: str, rows: int) -> None:
        offsets = maps[f"{name}.offsets"]
        self._text = maps[f"{name}.utf8"]
        self._offsets = offsets.view(np.uint32 if len(offsets) == 4 * (rows + 1) else np.uint64)

    def __getitem__(self, row: int) -> str:
        return self._text[int(self._offsets[row]) : int(self._offsets[row + 1])].tobytes().decode()

    def all(self) -> list[str]:
        text, ends = self._text.tobytes(), self._offsets.tolist()
        return [text[a:b].decode() for a, b in itertools.pairwise(ends)]


def _map(path: Path, file: FileEntry) -> np.ndarray:
    """Map a file as bytes; a missing file is left to the caller, one of another length is refused."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        if size != file.bytes:
            raise CheckpointError(f"{path} holds {size} bytes instead of {file.bytes}; it was cut short or altered")
        return np.asarray(np.memmap(stream, np.uint8, "r")) if size else np.zeros(0, np.uint8)
