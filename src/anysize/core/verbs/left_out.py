"""Files among the items that cannot be read: what is gone on with, and what is said of the others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from anysize.core.data.held_out import key_of
from anysize.core.errors import DataError, UnreadableError
from anysize.core.files import read_object, write_json

if TYPE_CHECKING:
    from anysize.core.data.data import Data

T = TypeVar("T")


def said(errors: Mapping[int, DataError], count: int) -> str:
    """``2 of 10 items are left out: ...``."""
    return f"{len(errors)} of {count} items are left out: {UnreadableError(errors)}"


def tell(errors: Mapping[int, DataError], count: int) -> None:
    """The same on standard error, if there are any. Raises `UnreadableError` if nothing is left."""
    if errors and len(errors) == count:
        raise UnreadableError(errors)
    if errors:
        sys.stderr.write(f"note: {said(errors, count)}\n")


def keep(part: Path, errors: Mapping[int, DataError]) -> None:
    """Beside the file of a part of an unfinished run: what it lacks."""
    if errors:
        write_json(_beside(part), {str(place): str(error) for place, error in errors.items()})


def read(part: Path) -> dict[int, DataError]:
    """What `keep` wrote of this part."""
    beside = _beside(part)
    held = read_object(beside, "an unfinished run") if beside.exists() else {}
    return {int(place): DataError(error) for place, error in held.items()}


def _beside(part: Path) -> Path:
    return part.with_suffix(".left-out")


def leaving_out(data: Data, do: Callable[[Data], T], *, strict: bool = False) -> T:
    """``do(data)``, without those files that it finds it cannot read; if `strict`, their error."""
    while True:
        try:
            return do(data)
        except UnreadableError as error:
            if strict:
                raise
            data = without(data, error)


def without(data: Data, error: UnreadableError) -> Data:
    """
    The data without the files that `error` is about, and with a note on them; its fingerprint is that of the whole.

    Raises the error itself if nothing would be left, or if it is about files that the data does not hold.
    """
    broken = {key_of(row) for row in error.rows}
    items, table, labels = data.items(), data.table, data.labels
    kept = [place for place, row in enumerate(items.rows) if key_of(row) not in broken]
    if not kept or len(kept) == len(items):
        raise error
    if table is not None:
        files = [table[name] for name in table.kinds]
        rows = [row for row in range(len(table)) if not any(key_of(column[row]) in broken for column in files)]
        if not rows:
            raise error
        table = table.take(rows)
    return replace(
        data,
        corpus=None if data.corpus is None else items.take(kept),
        table=table,
        labels=None if labels is None else [labels[place] for place in kept],
        notes=(*data.notes, said(error.errors, len(items))),
    )
