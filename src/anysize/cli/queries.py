"""The queries of ``anysize search --queries``: all read and checked before the first is answered."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anysize.core.data.beir import PARTS
from anysize.core.data.files.media import Files
from anysize.core.errors import DataError


@dataclass(frozen=True)
class Queries:
    """Texts and lists of parts, or vectors (q, d), and what each is called: its id, or its number from 1."""

    ids: list[str]
    queries: Any


def read_queries(source: str, what: str = "query") -> Queries:
    """
    The queries of a file, or of standard input for "-"; a message calls one of them `what`.

    A file is read as JSON lines if its first line is a JSON object, else as text, a query a line; empty lines are
    passed over. Raises `DataError`, naming the line, and if there is no query.
    """
    if source.lower().endswith(".npy"):
        from anysize.core.data.files.vectors import checked, vectors_of

        vectors = checked(vectors_of(Path(source)), source).rows
        return Queries([str(row) for row in range(1, len(vectors) + 1)], vectors)
    name = "standard input" if source == "-" else source
    lines = [(number, line) for number, line in _lines(source, name) if line.strip()]
    if not lines:
        raise DataError(f"{name} holds no {what}; expected one a line")
    if not isinstance(_json(lines[0][1]), dict):
        return Queries([str(number) for number, _ in lines], [line.strip() for _, line in lines])
    files = Files(None if source == "-" else Path(source).parent)
    found = [_query(line, f"{name} line {number}", number, what, files) for number, line in lines]
    return Queries([one for one, _ in found], [query for _, query in found])


def _query(line: str, where: str, number: int, what: str, files: Files) -> tuple[str, Any]:
    values = _json(line)
    values = values if isinstance(values, dict) else {}
    parts = next((values[name] for name in PARTS if what == "query" and name in values), None)
    query = values.get("text", values.get("query")) if parts is None else files.cell("parts", parts, where)
    if parts is None and (not isinstance(query, str) or not query.strip()):
        raise DataError(f'{where} is no {what}; expected a JSON object with a "text" that is not empty')
    own = values.get("_id", values.get("query_id", values.get("id", number)))
    if isinstance(own, bool) or not isinstance(own, (str, int)):
        raise DataError(f"{where} has the id {own!r}; expected text or a whole number")
    return str(own), query


def _lines(source: str, name: str) -> Iterator[tuple[int, str]]:
    if source != "-":
        from anysize.core.data.files.rows import lines_of

        if not Path(source).is_file():
            raise DataError(f"{source} is not there; expected a file of queries, or - for standard input")
        yield from lines_of(Path(source))
        return
    yield from enumerate(_decoded(sys.stdin, name), start=1)


def _decoded(stream: Iterable[str], name: str) -> Iterator[str]:
    """Lines of standard input in UTF-8, whatever the terminal is set to."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8-sig", errors="strict")
    try:
        yield from stream
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text ({error.reason}); save it as UTF-8") from None


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
