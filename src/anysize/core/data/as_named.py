"""Rows whose columns keep their own names, because they hold files or mean what only their user knows; and folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anysize.core.data.data import Data
from anysize.core.data.files.digest import Digest
from anysize.core.data.files.media import BESIDE, Files, MissingError, content_of, kind_of_file
from anysize.core.data.files.rows import Row, short_list
from anysize.core.data.layouts import IDS, LABELS, first_of
from anysize.core.data.records import Items, Table
from anysize.core.errors import DataError
from anysize.core.progress import bar


def data_as_named(
    name: str, source: Iterable[Row], columns: list[str], files: Files, kinds: Mapping[str, str] | None = None
) -> Data:
    """
    A table of these columns; a cell that a row lacks is None. `kinds` are those of columns of files and of parts.

    One column of files, with ids and labels or alone, is items too. A row may lack a sound or a film beside the other.
    Raises `DataError`, naming the row; of several files that are not there, how many and some of them.
    """
    of = dict(kinds or {})
    held: dict[str, list[Any]] = {column: [] for column in columns}
    digest = Digest("columns", *(f"{column} {of.get(column, 'plain')}" for column in sorted(columns)))
    in_order, later = [(column, of.get(column), held[column]) for column in sorted(columns)], dict[str, None]()
    missing: list[MissingError] = []
    beside = [column for column, kind in of.items() if kind in BESIDE]
    with bar(None, "reading", " files", show=bool(of), leave=False) as shown:
        for row in source:
            if len(row.values) > len(held) or not row.values.keys() <= held.keys():
                later |= dict.fromkeys(row.values.keys() - held.keys())
            heard = any(row.values.get(column) is not None for column in beside)
            for column, kind, into in in_order:
                cell = row.values.get(column)
                plain = kind is None or (cell is None and heard and column in beside)
                try:
                    into.append(cell if plain else files.cell(str(kind), cell, row.where))
                except MissingError as error:
                    missing.append(error)
                    into.append(None)
                digest.add(row, _content(cell) if kind is None else "file " + _content(content_of(into[-1])))
            if of:
                shown.update(files.count - shown.n)
    _check_there(missing, files.count)
    items, labels = _items(held, of)
    notes = (f"the columns {short_list(sorted(later))} are not in the first row and are not read",) if later else ()
    return Data(name, digest.hex(), items, table=Table(dict(held), of), labels=labels, notes=notes)


def _check_there(missing: list[MissingError], there: int) -> None:
    distinct = list({error.given: error for error in missing}.values())
    if len(distinct) == 1:
        raise distinct[0]
    if distinct:
        some = ", ".join(f"{error.given!r} ({error.where})" for error in distinct[:3])
        more = f" and {len(distinct) - 3} more" if len(distinct) > 3 else ""
        raise DataError(f"{len(distinct)} of {len(distinct) + there} files are not there: {some}{more}")


def _content(cell: Any) -> str:
    if isinstance(cell, str):
        return "text " + cell
    return json.dumps(cell, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _items(held: Mapping[str, list[Any]], kinds: Mapping[str, str]) -> tuple[Items | None, list[str | int] | None]:
    """The files, if they stand alone or beside nothing but ids and labels."""
    folded = {name.lower(): name for name in held if name not in kinds}
    named, label = first_of(folded, IDS), first_of(folded, LABELS)
    if len(kinds) != 1 or {*held} - {*kinds} - {named, label}:
        return None, None
    ((column, kind),) = kinds.items()
    ids = [str(row) for row in range(len(held[column]))] if named is None else [str(one) for one in held[named]]
    if len(set(ids)) < len(ids):
        raise DataError(f"the ids in {named} are not distinct; ids must differ")
    labels = None if label is None else held[label]
    return Items(ids, held[column], kind, numbered=named is None), labels


def data_from_folder(folder: Path) -> Data | None:
    """
    The pictures, sounds or films of a folder, in the order of their names, which are their ids; None if it has none.

    Where every one lies in a folder of its own within, that folder's name is its label. A sound and a film of one name
    are one row. Raises `DataError` if there are several kinds otherwise.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    kinds = {path: kind for path in found if (kind := kind_of_file(path)) is not None}
    if not kinds:
        return None
    several = sorted(set(kinds.values()))
    if several == [*BESIDE]:
        return _clips(folder, kinds, len(found) - len(kinds))
    if len(several) > 1:
        raise DataError(
            f"{folder} holds {' and '.join(several)} files; name a table beside them that says which belong together"
        )
    names = [path.relative_to(folder) for path in kinds]
    labelled = all(len(name.parts) > 1 for name in names)
    label = [{"label": name.parts[0]} if labelled else {} for name in names]
    rows = (
        Row(str(folder), {several[0]: str(name), "id": name.as_posix(), **more})
        for name, more in zip(names, label, strict=True)
    )
    columns = [several[0], "id", *(["label"] if labelled else [])]
    data = data_as_named(folder.resolve().name, rows, columns, Files(folder), {several[0]: several[0]})
    return _noted(data, len(found) - len(kinds))


def _clips(folder: Path, kinds: Mapping[Path, str], unread: int) -> Data:
    rows: dict[str, dict[str, str | None]] = {}
    for path, kind in kinds.items():
        name = path.relative_to(folder)
        row = rows.setdefault(name.with_suffix("").as_posix(), dict.fromkeys(BESIDE))
        if row[kind] is not None:
            raise DataError(f"{folder} holds {row[kind]} and {name}; give each clip a name of its own")
        row[kind] = str(name)
    source = (Row(str(folder), {**row, "id": name}) for name, row in rows.items())
    data = data_as_named(
        folder.resolve().name, source, [*BESIDE, "id"], Files(folder), dict(zip(BESIDE, BESIDE, strict=True))
    )
    return _noted(data, unread)


def _noted(data: Data, unread: int) -> Data:
    return replace(data, notes=(f"{unread} other files are not read",)) if unread else data
