"""
Reading a segment: coordinate blocks, prefix norms, ids and texts.

Every file is opened with the segment, so that a reader keeps its generation after a writer unlinks it; it is checked
against its digest when something of it is first asked for.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from anysize.core.errors import CheckpointError
from anysize.search.asking.plans import UNCHECKED
from anysize.search.store.codes import Codes
from anysize.search.store.entries import SegmentEntry, block_name, norms_name
from anysize.search.store.manifest import SEGMENTS, Manifest
from anysize.search.store.sparse import LISTS, Lists
from anysize.search.store.stored import Stored

Rows = slice | np.ndarray


class Segment:
    """Rows of an index that were written together. Immutable but for which of them are deleted."""

    def __init__(self, directory: Path, manifest: Manifest, entry: SegmentEntry) -> None:
        self.rows, self.entry, self.bounds = entry.rows, entry, manifest.bounds
        self.plans = entry.plans or UNCHECKED
        """How it is searched by default."""
        self._sparse = manifest.sparse
        home = os.path.join(directory, SEGMENTS, entry.name)
        self._files = {name: Stored(f"{home}/{name}", digest) for name, digest in entry.files.items()}
        self._lengths = [dims for dims in self.bounds[1:] if norms_name(dims) in entry.files]
        self._deleted = None
        if entry.deleted and entry.deleted_file:
            self._deleted = Stored(os.path.join(directory, SEGMENTS, entry.deleted), entry.deleted_file)
        self._matrices: dict[str, np.ndarray] = {}
        self._loaded: dict[str, Codes] = {}

    @cached_property
    def deleted(self) -> np.ndarray:
        """Rows that are deleted, int64 ascending."""
        if self._deleted is None:
            return np.zeros(0, np.int64)
        rows = np.array(self._deleted.content().view(np.int64))
        if (np.diff(rows) <= 0).any() or (len(rows) and not 0 <= rows[0] <= rows[-1] < self.rows):
            raise CheckpointError(f"{self._deleted.path} names rows that are not there; build the index again")
        return rows

    @cached_property
    def lists(self) -> Lists | None:
        """The sparse codes of the rows, where the index has any."""
        if self._sparse is None:
            return None
        return Lists({name: self._files[name].content() for name in LISTS}, self.rows, self._sparse.latents)

    def pieces(self, low: int, high: int, rows: Rows) -> Iterator[tuple[int, int, np.ndarray]]:
        """
        The coordinates [low, high) of `rows`, block by block: (from, to, float32 (rows, to - from)).

        A slice of rows gives views on the map; an array of row numbers gives copies of those rows alone.
        """
        for start, stop in itertools.pairwise(self.bounds):
            a, b = max(low, start), min(high, stop)
            if a < b:
                block = self._matrix(block_name(start, stop), stop - start)
                inside = block if (a, b) == (start, stop) else block[:, a - start : b - start]
                yield a, b, (inside[rows] if isinstance(rows, slice) else inside.take(rows, axis=0))

    def norms(self, dims: int, rows: Rows) -> np.ndarray:
        """
        Lengths of the first `dims` coordinates of `rows`: float32 (rows,).

        Stored where a block ends; else from the nearest stored length before and the coordinates after it. Infinite
        where a length is beyond float32.
        """
        if dims in self._lengths:
            return self._matrix(norms_name(dims), 1)[rows, 0]
        start = max((stored for stored in self._lengths if stored < dims), default=0)
        squared = np.square(self.norms(start, rows), dtype=np.float64) if start else np.float64(0)
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
        file = f"{name}.faiss"
        if file not in self._files:
            return None
        if name not in self._loaded:
            self._loaded[name] = Codes(self._files[file].content(), Path(self._files[file].path))
        return self._loaded[name]

    def verify(self) -> None:
        """Read every file and compare it with its digest. Raises `CheckpointError` naming the first that differs."""
        for file in (*self._files.values(), *([self._deleted] if self._deleted else [])):
            file.verify()

    @cached_property
    def _ids(self) -> _Strings:
        return _Strings(self._files["ids.utf8"], self._files["ids.offsets"], self.rows)

    @cached_property
    def _texts(self) -> _Strings | None:
        if "texts.utf8" not in self._files:
            return None
        return _Strings(self._files["texts.utf8"], self._files["texts.offsets"], self.rows)

    def _matrix(self, name: str, width: int) -> np.ndarray:
        """A file of float32 (rows, width)."""
        found = self._matrices.get(name)
        if found is None:
            found = self._matrices[name] = self._files[name].content().view(np.float32).reshape(self.rows, width)
        return found


def open_segments(directory: Path, manifest: Manifest, known: Iterable[Segment] = ()) -> tuple[Segment, ...]:
    """The segments of a generation; those of `known` that are the same are not opened again."""
    there = {segment.entry.name: segment for segment in known}
    found = ((entry, there.get(entry.name)) for entry in manifest.segments)
    return tuple(
        one if one is not None and one.entry == entry else Segment(directory, manifest, entry) for entry, one in found
    )


class _Strings:
    """Strings in one UTF-8 file, found through offsets, so that one is read without the others."""

    def __init__(self, text: Stored, offsets: Stored, rows: int) -> None:
        self._text, self._path = text.content(), text.path
        self._offsets = offsets.content().view(np.uint32 if offsets.digest.bytes == 4 * (rows + 1) else np.uint64)

    def __getitem__(self, row: int) -> str:
        return self._decoded(self._text[int(self._offsets[row]) : int(self._offsets[row + 1])].tobytes())

    def all(self) -> list[str]:
        text, ends = self._text.tobytes(), self._offsets.tolist()
        return [self._decoded(text[a:b]) for a, b in itertools.pairwise(ends)]

    def _decoded(self, content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise CheckpointError(f"{self._path} holds what is not UTF-8 text; build the index again") from None
