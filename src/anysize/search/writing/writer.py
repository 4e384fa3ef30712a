"""Writing a segment batch by batch: each vector once, cut into coordinate blocks, with lengths, ids and texts."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from anysize.core.digests import Digest, remember
from anysize.core.errors import AnysizeError, DataError
from anysize.core.files import flush
from anysize.search.scoring.check import check
from anysize.search.store.codes import MIN_ROWS
from anysize.search.store.entries import SegmentEntry, block_name, new_deleted_name, new_segment_name, norms_name
from anysize.search.store.manifest import SEGMENTS, Manifest
from anysize.search.store.segment import Segment
from anysize.search.store.sparse import inverted, prepared
from anysize.search.store.stored import SMALL
from anysize.search.writing.coded import build_codes, build_hnsw


class SegmentWriter:
    """Fills a new segment directory. Left by an error it removes the directory; after `finish` it stays."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory, self._manifest = directory, manifest
        self._name = new_segment_name(manifest.generation + 1)
        self._home = directory / SEGMENTS / self._name
        self._home.mkdir(parents=True)
        self._files: dict[str, _HashedFile] = {}
        self._ends = {"ids": array("Q", [0]), "texts": array("Q", [0])}
        self._entries: dict[str, Digest] = {}
        self._codes: list[Any] = []
        self.rows = 0

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
        if kind is not None:
            shutil.rmtree(self._home, ignore_errors=True)

    def add(
        self,
        vectors: np.ndarray,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        codes: Any | None = None,
        first: int = 0,
    ) -> None:
        """
        Append rows: vectors float32 (n, dims), ids, and, if the index keeps them, texts and codes (n, latents).

        `first` is the number of the first row, for the message about a text that is none.
        """
        bounds = self._manifest.bounds
        squared = np.zeros(len(vectors))
        for low, high in itertools.pairwise(bounds):
            block = np.ascontiguousarray(vectors[:, low:high])
            self._file(block_name(low, high)).write(block.data)
            squared += np.square(block, dtype=np.float64).sum(1)
            with np.errstate(over="ignore"):  # infinite where a length is beyond float32; a search then sums again
                self._file(norms_name(high)).write(np.sqrt(squared).astype(np.float32).data)
        self._strings("ids", ids, first)
        if texts is not None:
            self._strings("texts", texts, first)
        if codes is not None:
            self._codes.append(prepared(codes, self._manifest.metric))
        self.rows += len(vectors)

    def finish(self) -> SegmentEntry:
        """Write the offsets and the codes, flush everything to disk, and describe the segment."""
        if not self.rows:
            raise DataError("there is nothing to index: the corpus is empty")
        for name, ends in self._ends.items():
            if f"{name}.utf8" in self._files:
                offsets = np.frombuffer(ends, np.uint64)
                small = offsets[-1] < 2**32
                self._file(f"{name}.offsets").write((offsets.astype(np.uint32) if small else offsets).data)
        if self._codes:
            from scipy.sparse import vstack

            for name, content in inverted(vstack(self._codes, format="csr")).items():
                self._file(name).write(content.data)
        self._close()
        entry = SegmentEntry(self._name, self.rows, dict(self._entries))
        if self.rows >= MIN_ROWS and (self._manifest.codes or self._manifest.hnsw):
            segment = Segment(self._directory, self._manifest, entry)
            for dims in self._manifest.codes:
                self._file(f"codes-{dims}.faiss").write(build_codes(segment, dims, self._manifest.metric).data)
            if graph := self._manifest.hnsw:
                self._file(f"hnsw-{graph}.faiss").write(build_hnsw(segment, graph, self._manifest.metric).data)
            self._close()
            entry = SegmentEntry(self._name, self.rows, dict(self._entries))
        entry = replace(entry, plans=check(Segment(self._directory, self._manifest, entry), self._manifest))
        flush(self._home)
        flush(self._home.parent)
        return entry

    def _strings(self, name: str, values: Sequence[str], first: int) -> None:
        try:
            encoded = [value.encode() for value in values]
        except UnicodeEncodeError as error:
            row = first + next(at for at, value in enumerate(values) if value == error.object)
            raise DataError(
                f"item {row} holds a character that is not Unicode text ({error.reason}) in its {name}"
            ) from None
        self._file(f"{name}.utf8").write(b"".join(encoded))
        ends, end = self._ends[name], self._ends[name][-1]
        for value in encoded:
            end += len(value)
            ends.append(end)

    def _file(self, name: str) -> _HashedFile:
        if name not in self._files:
            self._files[name] = _HashedFile(self._home / name)
        return self._files[name]

    def _close(self) -> None:
        closed = {name: file.close() for name, file in self._files.items()}
        remember({self._home / name: digest for name, digest in closed.items() if digest.bytes > SMALL})
        self._entries |= closed
        self._files.clear()


def write_deleted(directory: Path, rows: np.ndarray) -> tuple[str, Digest]:
    """Write the deleted row numbers of one segment, int64 ascending, as a new file beside the segments."""
    name = new_deleted_name()
    file = _HashedFile(directory / SEGMENTS / name)
    try:
        file.write(np.ascontiguousarray(rows, np.int64).data)
    finally:
        entry = file.close()
    flush(directory / SEGMENTS)
    return name, entry


@contextlib.contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn a full disk into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise AnysizeError(
                f"no room is left to write {directory} ({os.strerror(error.errno)}); what was there before is unchanged"
            ) from error
        raise


class _HashedFile:
    """A file whose checksum is taken while it is written, so that it is not read again."""

    def __init__(self, path: Path) -> None:
        self._stream: BinaryIO = path.open("wb", buffering=1 << 20)
        self._hash = hashlib.sha256()
        self._bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        raw = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        self._stream.write(raw)
        self._hash.update(raw)
        self._bytes += raw.nbytes

    def close(self) -> Digest:
        if not self._stream.closed:
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
            finally:
                self._stream.close()
        return Digest(self._bytes, self._hash.hexdigest())
