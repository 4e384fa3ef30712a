"""
Changing an index that stands: more items, others in the place of some, fewer, or the same in one segment.

Each change is one commit, and the last thing that can fail: what a generation names is opened before it is committed,
so that a change that raised has not happened.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.errors import CheckpointError, DataError
from anysize.search.intake.ids import Numbers
from anysize.search.intake.items import Batch, batches, count
from anysize.search.intake.passages import item_of
from anysize.search.store.entries import SegmentEntry
from anysize.search.store.lock import writing
from anysize.search.store.manifest import Manifest, commit, read_manifest, sweep, tidy
from anysize.search.store.segment import Segment, open_segments
from anysize.search.writing.rows import Rows, first_of, write_rows
from anysize.search.writing.writer import disk_errors, write_deleted

Opened = tuple[Manifest, tuple[Segment, ...]]
_TOGETHER = 65536
"""Rows of the largest segment that an addition makes by merging."""


def append(
    directory: Path,
    items: Any,
    ids: Iterable[object] | None,
    model: Any,
    progress: bool | None,
    *,
    known: Sequence[Segment] = (),
    replacing: bool = False,
    strict: bool = False,
) -> Opened:
    """
    Write more rows, in a segment with those of the small segments before it; `known` are segments that are open.

    With `replacing`, rows of the same ids are deleted in the same step; without, an id that is taken is refused.
    """
    with _changing(directory) as manifest:
        segments = open_segments(directory, manifest, known)
        stream = batches(items, ids, model, in_passages=manifest.passages, strict=strict)
        item = item_of if manifest.passages else str
        first = first_of(stream)
        if replacing and first.ids is None:
            raise DataError("what has no ids of its own cannot take the place of other items; give ids, or add it")
        stay = _staying(manifest, count(items))
        kept = [*_kept(manifest, segments[stay:])]
        taken = set() if replacing else {item(name) for one in segments for name in one.ids(one.alive())}
        rows = Rows(itertools.chain([first], stream), taken, None if replacing else Numbers(manifest.next_id), kept)
        written = write_rows(directory, manifest, rows, count(items), progress)
        entries = list(manifest.segments[:stay])
        if replacing:
            entries = [_without(directory, one, taken, item) for one in segments[:stay]]
            moved = [item(name) for batch in kept for name in batch.ids or ()]
            written = _deleting(directory, written, [row for row, name in enumerate(moved) if name in taken])
        number = max(manifest.next_id + rows.items, rows.numbers.next if rows.numbers else 0)
        return _publish(directory, replace(manifest, segments=(*entries, written), next_id=number), segments)


def remove(directory: Path, ids: Sequence[str], known: Sequence[Segment] = ()) -> Opened:
    """Delete items, or passages of them. Raises `DataError`, and deletes none, if an id is not there."""
    with _changing(directory) as manifest:
        segments, wanted = open_segments(directory, manifest, known), set(ids)
        item = item_of if manifest.passages else str
        there = {found for one in segments for name in one.ids(one.alive()) for found in (name, item(name))}
        missing = next((name for name in ids if name not in there), None)
        if missing is not None:
            raise DataError(f"no item has the id {missing!r}; nothing was deleted")
        entries = tuple(_without(directory, one, wanted, item) for one in segments)
        return _publish(directory, replace(manifest, segments=entries), segments)


def compact(directory: Path) -> Opened:
    """Write the rows that are left into one segment. Only one segment is open at a time, however many there are."""
    with _changing(directory) as manifest:
        segments: tuple[SegmentEntry, ...] = ()
        if manifest.count:
            opened = (Segment(directory, manifest, entry) for entry in manifest.segments)
            rows = Rows((), set(), None, _kept(manifest, opened))
            segments = (write_rows(directory, manifest, rows, manifest.count, False),)
        return _publish(directory, replace(manifest, segments=segments), ())


@contextlib.contextmanager
def _changing(directory: Path) -> Iterator[Manifest]:
    """Hold the right to write, and leave nothing behind that the index does not name, whatever happens."""
    with disk_errors(directory), writing(directory):
        manifest = read_manifest(directory)
        sweep(directory, manifest)
        try:
            yield manifest
        except BaseException as error:
            tidy(directory)
            if isinstance(error, FileNotFoundError):  # no other writer can have taken it away
                raise CheckpointError(f"{error.filename} is missing; build the index again") from error
            raise


def _publish(directory: Path, manifest: Manifest, known: Sequence[Segment]) -> Opened:
    """Open what `manifest` names, then make it the index."""
    segments = open_segments(directory, manifest, known)
    manifest = commit(directory, manifest)
    sweep(directory, manifest)
    return manifest, segments


def _staying(manifest: Manifest, coming: int | None) -> int:
    """
    How many segments stay as they are when `coming` rows are added.

    The others, at the end, have no more rows than what follows them. So of any number of additions of any size there
    are few segments, and a row is copied no more often than the logarithm of their number.
    """
    stay, total = len(manifest.segments), coming
    while total is not None and stay:
        more = manifest.segments[stay - 1].count
        if more > total or total + more > _TOGETHER:
            break
        stay, total = stay - 1, total + more
    return stay


def _without(directory: Path, segment: Segment, ids: set[str], item: Callable[[str], str]) -> SegmentEntry:
    """The entry of a segment without the rows that have one of these ids, or of whose item it is the id."""
    alive = segment.alive()
    named = zip(alive.tolist(), segment.ids(alive), strict=True)
    gone = [row for row, name in named if name in ids or item(name) in ids]
    return _deleting(directory, segment.entry, np.union1d(segment.deleted, gone) if gone else [])


def _deleting(directory: Path, entry: SegmentEntry, rows: Sequence[int] | np.ndarray) -> SegmentEntry:
    """The entry of a segment whose deleted rows are exactly these; the same entry for none."""
    if len(rows) == 0:
        return entry
    name, file = write_deleted(directory, np.asarray(rows, np.int64))
    return replace(entry, deleted=name, deleted_rows=len(rows), deleted_file=file)


def _kept(manifest: Manifest, segments: Iterable[Segment]) -> Iterator[Batch]:
    """The rows of segments that are not deleted."""
    for segment in segments:
        alive = segment.alive()
        codes = segment.lists.codes() if segment.lists else None
        for start in range(0, len(alive), _TOGETHER):
            rows: np.ndarray = alive[start : start + _TOGETHER]
            texts = [segment.text(row) or "" for row in rows.tolist()] if manifest.source == "texts" else None
            some = None if codes is None else codes[rows]
            yield Batch(segment.vectors(rows), segment.ids(rows), texts, manifest.source, codes=some)
