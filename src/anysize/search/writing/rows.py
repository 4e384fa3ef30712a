"""Rows on their way into a segment: each with an id of its own, all of one kind and width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anysize.core.errors import DataError
from anysize.core.progress import bar
from anysize.search.intake.ids import Numbers
from anysize.search.intake.items import Batch, check_width
from anysize.search.intake.passages import names_of
from anysize.search.store.entries import SegmentEntry
from anysize.search.store.manifest import Manifest
from anysize.search.writing.writer import SegmentWriter


@dataclass
class Rows:
    """What goes into one segment."""

    batches: Iterable[Batch]
    """New rows."""
    taken: set[str]
    """Ids that they may not have; theirs are added."""
    numbers: Numbers | None
    """Ids for those that have none; None refuses such."""
    kept: Iterable[Batch] = ()
    """Rows of the index itself, which go before them."""
    items: int = 0
    """How many new items were written."""


def write_rows(
    directory: Path, manifest: Manifest, rows: Rows, total: int | None, progress: bool | None
) -> SegmentEntry:
    """Write one segment of checked rows, and describe it. Raises `DataError` for an id that is taken."""
    shown = bar(total, "index", " items", show=progress is not False, leave=False)
    with shown, SegmentWriter(directory, manifest) as writer:
        for batch in rows.kept:
            writer.add(batch.vectors, batch.ids or (), batch.texts, batch.codes)
        for batch in rows.batches:
            if manifest.dims:
                check_width(batch.vectors, manifest.dims, "vectors")
            if batch.source != manifest.source:
                raise DataError(
                    f"the index holds {manifest.source}, and item {rows.items} is of the {batch.source} kind"
                )
            ids = batch.ids
            if ids is None:
                if rows.numbers is None:
                    raise DataError(f"item {rows.items} has no id; expected one for each item")
                ids = rows.numbers.take(len(batch.parts or batch.vectors), rows.taken)
            for row, name in enumerate(ids, rows.items):
                if name in rows.taken:
                    raise DataError(f"id {name!r} (item {row}) is given twice or already in the index; make ids unique")
                rows.taken.add(name)
            names = ids
            if batch.parts is not None:
                names = [one for name, count in zip(ids, batch.parts, strict=True) for one in names_of(name, count)]
            writer.add(batch.vectors, names, batch.texts, batch.codes, rows.items)
            rows.items += len(ids)
            shown.update(len(ids))
        return writer.finish()


def first_of(stream: Iterator[Batch]) -> Batch:
    """The first batch. Raises `DataError` if there is none."""
    first = next(stream, None)
    if first is None:
        raise DataError("there is nothing to index: no items were given")
    return first
