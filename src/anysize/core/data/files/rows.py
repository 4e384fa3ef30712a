"""Rows out of jsonl, json, csv, tsv and parquet files: streamed, with the line number of each for the error message."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anysize.core.data.files.unpacking import lines_of
from anysize.core.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MOST_COLUMNS = 10_000


class Row(NamedTuple):
    """One row and where it stands."""

    where: str
    """For messages: ``pairs.csv line 3``."""
    values: dict[str, Any]


def rows_of(path: Path, notes: list[str] | None = None) -> Iterator[Row]:
    """
    The rows of a file, by its suffix (before ``.gz``). Raises `DataError`, naming the line that cannot be read.

    What is read otherwise than the suffix says is told in `notes`, by the time that the first row comes.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind in (".csv", ".tsv"):
        yield from _separated(path, "," if kind == ".csv" else "\t", [] if notes is None else notes)
    elif kind == ".json":
        yield from _json(path)
    else:
        yield from _jsonl(path)


def kind_of(path: Path) -> str:
    """The suffix that says what a file holds, in lower case: ``.jsonl`` for ``corpus.jsonl.gz``."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in lines_of(path):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON ({_why(error)}); expected one object a line") from None
        if not isinstance(values, dict):
            raise DataError(f"{where} holds {type(values).__name__}, not an object; expected one object a line")
        yield Row(where, values)


def _json(path: Path) -> Iterator[Row]:
    """One list of objects, or one object of lists of equal length."""
    text = "".join(line for _, line in lines_of(path))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not JSON ({_why(error)}); expected a list of objects, or an object of lists"
        ) from None
    if isinstance(found, dict) and found and all(isinstance(column, list) for column in found.values()):
        found = list(by_row(found, path))
    if not isinstance(found, list):
        raise DataError(f"{path} holds one {type(found).__name__}; expected a list of objects, or an object of lists")
    for number, values in enumerate(found, start=1):
        if not isinstance(values, dict):
            raise DataError(
                f"{path} entry {number} is {type(values).__name__}, not an object; expected columns by name"
            )
        yield Row(f"{path} entry {number}", values)


def by_row(columns: Mapping[str, Sequence[Any]], where: object) -> Iterator[dict[str, Any]]:
    """Columns by name as rows by name. Raises `DataError` if they differ in length."""
    if len({len(column) for column in columns.values()}) > 1:
        lengths = short_list(f"{name}: {len(column)}" for name, column in columns.items())
        raise DataError(f"{where} holds lists of differing length ({lengths}); expected one value a row in each")
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _separated(path: Path, usual: str, notes: list[str]) -> Iterator[Row]:
    """Cells with a header; the separator is the one that the header has most of, the usual one among equals."""
    lines = lines_of(path)
    first = next(lines, None)
    if first is None:
        return
    separator = max((usual, *_SEPARATORS), key=first[1].count)
    if separator != usual:
        notes.append(f"the cells are separated by {_SEPARATORS[separator]}, as the first line of {path.name} says")
    every = itertools.chain([first], lines)
    yield from _plain(path, every) if separator == "\t" == usual else _quoted(path, every, separator)


def _plain(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    """Tab-separated with a header; quotes are ordinary characters."""
    header: list[str] | None = None
    for number, line in lines:
        cells = line.rstrip("\r\n").split("\t")
        if header is None:
            header = _checked_header(path, cells)
        elif line.strip("\r\n"):
            yield _row(f"{path} line {number}", header, cells)


def _quoted(path: Path, lines: Iterable[tuple[int, str]], separator: str) -> Iterator[Row]:
    """Separated, with a header; a quoted cell may span lines."""
    reader = csv.reader((line for _, line in lines), strict=True, delimiter=separator)
    header: list[str] | None = None
    start = 1
    with _cells_of_any_length():
        try:
            for cells in reader:
                if header is None:
                    header = _checked_header(path, cells)
                elif cells:
                    yield _row(f"{path} line {start}", header, cells)
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}: the row that starts at line {start} has broken quoting ({error})") from None


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(f'{path} needs pyarrow to be read; pip install "anysize[parquet]"') from None
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path} row {number}", values)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as parquet ({str(error).splitlines()[0]})") from None


@contextlib.contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """The csv module refuses cells over 131,072 characters unless told; documents may be longer."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(header) > _MOST_COLUMNS:
        raise DataError(f"{path} names {len(header)} columns in its first line; at most {_MOST_COLUMNS} are read")
    name, count = next(iter(Counter(header).most_common(1)), ("", 0))
    if count > 1:
        raise DataError(
            f"{path} names the column {name!r} {'twice' if count == 2 else f'{count} times'} in its first line"
        )
    return header


def _row(where: str, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise DataError(f"{where} has {len(cells)} cells; expected {len(header)} ({short_list(header)})")
    return Row(where, dict(zip(header, cells, strict=True)))


def _why(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def short_list(names: Iterable[object], most: int = 8) -> str:
    """Names for a message: the first few, each not too long, and how many more there are."""
    words = [str(name) for name in names]
    shown = [word if len(word) <= 60 else f"{word[:57]}..." for word in words[:most]]
    return ", ".join([*shown, *([f"and {len(words) - most} more"] if len(words) > most else [])])
