"""Folders of sounds or films with a table of what is said, as `datasets` has them: ``metadata.csv`` or jsonl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anysize.core.data.data import Data
from anysize.core.data.files.media import kind_of_file
from anysize.core.data.files.rows import Row, rows_of
from anysize.core.data.tables import data_from_rows
from anysize.core.errors import DataError

SAID = ("transcription", "transcript", "sentence")
"""What data sets call what is said."""


def read_folder(folder: Path) -> Data:
    """
    The rows of ``metadata.csv`` or ``metadata.jsonl``: file_name becomes audio, video or image, transcription text.

    Raises `DataError`, naming the row, for a file that is not there or is none of these.
    """
    table = next(path for name in ("metadata.csv", "metadata.jsonl") if (path := folder / name).is_file())
    notes: list[str] = []
    return data_from_rows(folder.resolve().name, _named(rows_of(table, notes)), str(table), notes, folder=folder)


def _named(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        values = dict(row.values)
        file = values.pop("file_name", None)
        kind = kind_of_file(file)
        if kind is None:
            raise DataError(f"{row.where}: expected file_name, the name of a sound, a film or a picture; got {file!r}")
        said = next((name for name in SAID if name in values), None)
        if said is not None and "text" not in values:
            values["text"] = values.pop(said)
        yield Row(row.where, {kind: file, **values})
