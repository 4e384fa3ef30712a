"""Rows into records: tables, texts or vectors, whichever the columns say, with a fingerprint of the content."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.data.as_named import data_as_named
from anysize.core.data.data import Data
from anysize.core.data.files import vectors
from anysize.core.data.files.digest import Digest
from anysize.core.data.files.media import Files
from anysize.core.data.files.rows import Row, short_list
from anysize.core.data.layouts import EXPECTED, layout_of, misnamed
from anysize.core.data.records import Items, Table
from anysize.core.data.spreading import spread
from anysize.core.errors import DataError


def data_from_rows(
    name: str,
    source: Iterable[Row],
    where: str,
    notes: Iterable[str] = (),
    *,
    folder: Path | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Data:
    """
    Pairs, scored pairs, texts or vectors, as the first row's columns say (`layouts.layout_of`); else as it is named.

    Columns of files are those that `kinds` says and those of which the first row names a file in `folder`. `notes` is
    what was found out on the way here; it may still grow while rows are read. Raises `DataError`.
    """
    stream = iter(source)
    first = next(stream, None)
    if first is None:
        raise DataError(f"{where} is empty; expected rows with the columns {EXPECTED}")
    files, every = Files(folder), _chain(first, stream)
    of = {**files.kinds(first.values), **(kinds or {})}
    layout = None if of else layout_of(first, where)
    if layout is None:
        data = data_as_named(name, every, list(first.values), files, of)
        hint = "" if of else misnamed(first.values)
        kept = (f"the columns {short_list(first.values)} are kept as they are named; {hint}",) if hint else ()
        return replace(data, notes=(*notes, *kept, *data.notes))
    everything = map(layout.rename, every)
    data = _READERS[layout.kind](name, everything, where, list(layout.columns))
    table = None if data.table is None else replace(data.table, called=layout.called)
    return replace(data, table=table, notes=(*notes, *layout.notes, *data.notes))


def _table(name: str, source: Iterable[Row], where: str, columns: list[str]) -> Data:
    """Pairs or scored pairs: texts beside each other, perhaps several in a cell, and perhaps a score."""
    digest = Digest(*columns)
    held: dict[str, list[Any]] = {column: [] for column in columns}
    listed = False
    for row in source:
        for column, into in held.items():
            if column == "score":
                into.append(_number(row, column))
                digest.add(row, repr(into[-1]))
            elif column not in _ALONE and isinstance(row.values.get(column), list):
                listed = True
                into.append(_some_texts(row, column))
                digest.add(row, *into[-1])
            else:
                into.append(_side(row, column))
                digest.add(row, into[-1])
    table, notes = spread(held) if listed else (Table(dict(held)), ())
    return Data(name, digest.hex(), table=table, notes=(*notes, *_repeated(zip(*table.columns.values(), strict=True))))


_ALONE = ("anchor", "sentence1", "sentence2")
"""Columns whose cells hold one text, also where those beside them hold several."""


def _texts(name: str, source: Iterable[Row], where: str, columns: list[str]) -> Data:
    digest = Digest()
    items, labels = texts_of(source, digest, numbered="_id" not in columns, labelled="label" in columns)
    return Data(name, digest.hex(), corpus=items, labels=labels, notes=about_texts(items.texts or []))


def _vectors(name: str, source: Iterable[Row], where: str, columns: list[str]) -> Data:
    found: list[np.ndarray] = []
    ids: dict[str, None] = {}
    labels: list[str | int] | None = [] if "label" in columns else None
    notes: tuple[str, ...] = ()
    for number, row in enumerate(source):
        try:
            vector = np.asarray(row.values["vector"], dtype=np.float32)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DataError(f"{row.where}: the vector is not a list of numbers") from None
        if found and vector.shape != found[0].shape:
            raise DataError(f"{row.where} has {vector.size} values; expected {found[0].size} as in the first row")
        place = _id(row) if "_id" in row.values else str(number)
        if place in ids:
            raise DataError(f"{row.where}: the id {place!r} is there already; ids must differ")
        ids[place] = None
        found.append(vector)
        if labels is not None:
            try:
                labels.append(_label(row))
            except DataError as error:  # vectors are as good without
                labels, notes = None, (f"the labels are not read: {error}",)
    checked = vectors.checked(np.stack(found), where)
    return Data(
        name,
        checked.fingerprint,
        corpus=Items(list(ids), checked.rows, "vector", numbered="_id" not in columns),
        labels=labels,
        notes=(*notes, *checked.notes),
    )


_WORD = (str, int, np.integer)
_READERS = {"pairs": _table, "scored": _table, "texts": _texts, "vectors": _vectors}


def about_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """How many texts are empty or repeated."""
    empty = sum(not text.strip() for text in texts)
    said = (f"{empty} of {len(texts)} texts are empty and are not learnt from",) if empty else ()
    return (*said, *_repeated(text for text in texts if text.strip()))


def _repeated(rows: Iterable[Any]) -> tuple[str, ...]:
    count = Counter(rows)
    more = count.total() - len(count)
    return (f"{more} of {count.total()} rows repeat an earlier one and are kept",) if more else ()


def texts_of(
    source: Iterable[Row], digest: Digest, *, numbered: bool = False, labelled: bool = False
) -> tuple[Items, list[str | int] | None]:
    """
    Rows with `text` and perhaps `title`, the title put first, and their labels if they are `labelled`.

    Ids are the rows' numbers if `numbered`, else their own.
    """
    places: dict[str, str] = {}
    texts: list[str] = []
    labels: list[str | int] = []
    for number, row in enumerate(source):
        title = _text(row, "title") if row.values.get("title") is not None else ""
        text = f"{title} {_text(row, 'text')}" if title else _text(row, "text")
        name = str(number) if numbered else _id(row)
        if name in places:
            raise DataError(f"{row.where}: the id {name!r} is already that of {places[name]}; ids must differ")
        places[name] = row.where
        texts.append(text)
        digest.add(row, name, text)
        if labelled:
            labels.append(_label(row))
            digest.add(row, str(labels[-1]))
    return Items(list(places), texts, numbered=numbered), labels if labelled else None


def _side(row: Row, column: str) -> str:
    text = _text(row, column)
    if not text.strip():
        raise DataError(f"{row.where}: {column} is empty; a pair needs a text on each side")
    return text


def _some_texts(row: Row, column: str) -> list[str]:
    """A cell that holds a list of texts, as FlagEmbedding's pos and neg do."""
    texts = row.values[column]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        expected = "a text, or a list of texts that are not empty"
        raise DataError(
            f"{row.where}: {column} is {short_list(map(repr, texts)) or 'an empty list'}; expected {expected}"
        )
    return list(texts)


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str):
        given = "is missing" if value is None else f"is {type(value).__name__}"
        raise DataError(f"{row.where}: {column} {given}; expected text")
    return value


def _number(row: Row, column: str) -> float:
    value = row.values.get(column)
    if value is None:
        raise DataError(f"{row.where}: {column} is missing; expected a number")
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{row.where}: the {column} {value!r} is not a number")
    return number


def _id(row: Row) -> str:
    value = row.values.get("_id", row.values.get("id"))
    if isinstance(value, bool) or not isinstance(value, _WORD) or value == "":
        raise DataError(f"{row.where}: _id or id is {value!r}; expected an id")
    return str(value)


def _label(row: Row) -> str | int:
    value = row.values.get("label")
    if isinstance(value, bool) or not isinstance(value, _WORD) or value == "":
        raise DataError(f"{row.where}: label is {value!r}; expected a word or a whole number")
    return value if isinstance(value, str) else int(value)


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest
