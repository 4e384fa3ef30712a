"""Rows into records: pairs, texts or vectors, whichever the columns say, with a fingerprint of the content."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator

import numpy as np

from anysize.core import vectors
from anysize.core.data import Data, Items, Pairs, ScoredPairs
from anysize.core.errors import DataError
from anysize.core.rows import Row

_IDS, _LABELS = ("_id", "id"), ("label", "category")
_VECTORS = ("vectors", "vector", "embeddings", "embedding")
_SCORED = ("sentence1", "sentence2", "score")
_EXPECTED = (
    "anchor, positive[, negative] for pairs, sentence1, sentence2, score for scored pairs, "
    "text[, title][, _id][, label] for texts"
)


class Digest:
    """SHA-256 over parsed fields, each with its length, so that one content has one fingerprint in any format."""

    def __init__(self, *kind: str) -> None:
        self._hash = hashlib.sha256("\0".join(kind).encode())

    def add(self, row: Row, *fields: str) -> None:
        """Take in the fields of one row. Raises `DataError`, naming the row, if one cannot be written as UTF-8."""
        for text in fields:
            try:
                content = text.encode()
            except UnicodeEncodeError:
                raise DataError(f"{row.where} holds half a surrogate pair, which is not a character") from None
            self._hash.update(len(content).to_bytes(8, "big") + content)

    def hex(self) -> str:
        """The digest so far, as hex digits."""
        return self._hash.hexdigest()


def data_from_rows(name: str, source: Iterable[Row], where: str) -> Data:
    """Pairs, scored pairs, texts or vectors, as the first row's columns say (in that order). Raises `DataError`."""
    stream = iter(source)
    first = next(stream, None)
    if first is None:
        raise DataError(f"{where} is empty; expected rows with the columns {_EXPECTED}")
    columns, everything = first.values.keys(), _chain(first, stream)
    if {"anchor", "positive"} <= columns:
        return _pairs(name, everything, ["anchor", "positive", *(["negative"] if "negative" in columns else [])])
    if set(_SCORED) <= columns:
        return _scored(name, everything)
    if "text" in columns:
        digest = Digest()
        items, labels = texts_of(everything, digest, numbered=not set(_IDS) & columns, labelled=True)
        return Data(name, digest.hex(), corpus=items, labels=labels)
    column = next((one for one in _VECTORS if isinstance(first.values.get(one), list)), None)
    if column is not None:
        found, ids = _vector_rows(everything, column)
        checked, fingerprint = vectors.checked(found, where)
        return Data(name, fingerprint, corpus=Items(ids, vectors=checked, numbered=not set(_IDS) & columns))
    raise DataError(f"{where} has the columns {', '.join(columns) or 'none'}; expected {_EXPECTED}; rename them")


def _pairs(name: str, source: Iterable[Row], columns: list[str]) -> Data:
    digest = Digest(*columns)
    held: list[list[str]] = [[] for _ in columns]
    for row in source:
        texts = [_text(row, column) for column in columns]
        for column, text, into in zip(columns, texts, held, strict=True):
            if not text.strip():
                raise DataError(f"{row.where}: {column} is empty; a pair needs a text on each side")
            into.append(text)
        digest.add(row, *texts)
    return Data(name, digest.hex(), pairs=Pairs(*held))


def _scored(name: str, source: Iterable[Row]) -> Data:
    digest = Digest(*_SCORED)
    first, second, scores = [], [], []
    for row in source:
        texts = [_text(row, column) for column in _SCORED[:2]]
        for column, text in zip(_SCORED, texts, strict=False):
            if not text.strip():
                raise DataError(f"{row.where}: {column} is empty; a scored pair needs a text on each side")
        first.append(texts[0])
        second.append(texts[1])
        scores.append(_number(row, _SCORED[2]))
        digest.add(row, *texts, repr(scores[-1]))
    return Data(name, digest.hex(), scored=ScoredPairs(first, second, scores))


def texts_of(
    source: Iterable[Row], digest: Digest, *, numbered: bool = False, labelled: bool = False
) -> tuple[Items, list[str | int] | None]:
    """
    Rows with `text` and perhaps `title`, the title put first.

    Ids are the rows' numbers if `numbered`, else their own. With `labelled`, labels come too if the first row has one.
    """
    places: dict[str, str] = {}
    texts: list[str] = []
    labels: list[str | int] = []
    label_column: str | None = None
    for number, row in enumerate(source):
        if number == 0 and labelled:
            label_column = next((column for column in _LABELS if column in row.values), None)
        title = _text(row, "title") if row.values.get("title") is not None else ""
        text = f"{title} {_text(row, 'text')}" if title else _text(row, "text")
        name = str(number) if numbered else _id(row, _IDS)
        if name in places:
            raise DataError(f"{row.where}: the id {name!r} is already that of {places[name]}; ids must differ")
        places[name] = row.where
        texts.append(text)
        digest.add(row, name, text)
        if label_column is not None:
            labels.append(_label(row, label_column))
            digest.add(row, str(labels[-1]))
    return Items(list(places), texts=texts, numbered=numbered), labels if label_column is not None else None


def _vector_rows(source: Iterable[Row], column: str) -> tuple[np.ndarray, list[str]]:
    found: list[np.ndarray] = []
    ids: dict[str, None] = {}
    for number, row in enumerate(source):
        try:
            vector = np.asarray(row.values[column], dtype=np.float32)
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{row.where}: {column} is not a list of numbers") from None
        if found and vector.shape != found[0].shape:
            raise DataError(f"{row.where} has {vector.size} values; expected {found[0].size} as in the first row")
        name = _id(row, _IDS) if set(_IDS) & row.values.keys() else str(number)
        if name in ids:
            raise DataError(f"{row.where}: the id {name!r} is there already; ids must differ")
        ids[name] = None
        found.append(vector)
    return np.stack(found), list(ids)


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


def _id(row: Row, columns: tuple[str, ...]) -> str:
    value = next((row.values[column] for column in columns if column in row.values), None)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{row.where}: {' or '.join(columns)} is {value!r}; expected an id")
    return str(value)


def _label(row: Row, column: str) -> str | int:
    value = row.values.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{row.where}: {column} is {value!r}; expected a label")
    return value


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest
