"""Rows out of jsonl, csv, tsv and parquet files: streamed, with the line number of each for the error message."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from anysize.core.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")


class Row(NamedTuple):
    """One row and where it stands."""

    where: str
    """For messages: ``pairs.csv line 3``."""
    values: dict[str, Any]


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a file, by its suffix (before ``.gz``). Raises `DataError`, naming the line that cannot be read."""
    kind = kind_of(path)
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind == ".csv":
        yield from _csv(path)
    elif kind == ".tsv":
        yield from _tsv(path)
    else:
        yield from _jsonl(path)


def kind_of(path: Path) -> str:
    """The suffix that says what a file holds, in lower case: ``.jsonl`` for ``corpus.jsonl.gz``."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file, plain or gzip, with their line ends."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"{path} line {number} holds the byte 0x{byte:02x}, which is not UTF-8; save it as UTF-8"
        ) from None
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be read past line {number} ({error})") from None


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in lines_of(path):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON ({error}); expected one object a line") from None
        if not isinstance(values, dict):
            raise DataError(f"{where} holds {type(values).__name__}, not an object; expected one object a line")
        yield Row(where, values)


def _tsv(path: Path) -> Iterator[Row]:
    """Tab-separated with a header; quotes are ordinary characters."""
    header: list[str] | None = None
    for number, line in lines_of(path):
        cells = line.rstrip("\r\n").split("\t")
        if header is None:
            header = _checked_header(path, cells)
        elif line.strip("\r\n"):
            yield _row(f"{path} line {number}", header, cells)


def _csv(path: Path) -> Iterator[Row]:
    """Comma-separated with a header; a quoted cell may span lines."""
    reader = csv.reader((line for _, line in lines_of(path)), strict=True)
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
    except (pa.ArrowException, OSError) as error:
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
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} names the column {twice!r} twice in its first line")
    return header


def _row(where: str, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise DataError(f"{where} has {len(cells)} cells; expected {len(header)} ({', '.join(header)})")
    return Row(where, dict(zip(header, cells, strict=True)))
