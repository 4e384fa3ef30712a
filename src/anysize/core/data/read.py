"""One reader for every kind of source: a folder in BEIR layout, a file, a `datasets` name, or what is in memory."""

from __future__ import annotations

import os
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeAlias

from anysize.core.arguments import PATH, expect, shown
from anysize.core.data.as_named import data_from_folder
from anysize.core.data.beir import is_beir, read_beir
from anysize.core.data.data import Data
from anysize.core.data.files import rows, vectors
from anysize.core.data.files.vectors import is_shards, read_shards
from anysize.core.data.memory import data_from_memory, data_from_vectors
from anysize.core.data.tables import data_from_rows
from anysize.core.errors import AnysizeError, DataError, reason_of
from anysize.core.registry import find, names

Source: TypeAlias = Any
"""What `read` takes: a path or a name, `Data`, or what people hold in memory (`anysize.core.data.memory.TAKEN`)."""


def read(source: Source) -> Data:
    """
    Read data from a file, a folder in BEIR layout, the name of a `datasets` data set, or what is in memory.

    Files: jsonl, json, csv, tsv or parquet (also ``.jsonl.gz`` and the like) with columns ``anchor, positive[,
    negative]``, ``sentence1, sentence2, score`` or ``text[, title][, id][, label]``, or names that commonly stand for
    these (`anysize.core.data.layouts`); npy, npz, safetensors, jsonl or parquet with vectors (npz, jsonl and parquet
    also with a label for each), or a folder of npy files, mapped as one table. A name may carry a configuration and a
    split, ``name:config:split``; the split is train unless given.
    ``none`` is no data, for a method that can do without.

    In memory: a list of texts or of dicts, a dict of columns, an array or tensor of vectors (n, d), a DataFrame of
    pandas or polars, a `datasets.Dataset`; the columns have the names that they have in files, and equal content has
    one fingerprint wherever it stands. What was read otherwise than it stands, or not at all, is told in `Data.notes`.
    Raises `DataError`, naming file and line, or the row.
    """
    if isinstance(source, Data):
        return source
    if not isinstance(source, str | os.PathLike):
        return data_from_memory(source)
    path = expect(source, PATH, "read: source")
    return Data("none", "none") if path == "none" else _read(path)


def _read(source: str | Path) -> Data:
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    if isinstance(source, Path) or _looks_like_a_path(source):
        raise DataError(f"{source} does not exist")
    return _registered(source) or _hub(source)


def _folder(path: Path) -> Data:
    if is_shards(path):
        return data_from_vectors(path.name, read_shards(path), str(path))
    if not is_beir(path) and (found := _registered(path) or data_from_folder(path)) is not None:
        return found
    return read_beir(path)


def _registered(source: Path | str) -> Data | None:
    """
    What a reader of the group ``anysize.readers`` makes of a folder, a file, or a name that is neither (``uma:2000``).

    A pattern of a name has a colon. A reader gives None for what is not for it after all: most .npz hold vectors.
    """
    for marker in names("readers"):
        if not _matches(source, marker):
            continue
        try:
            data = find("readers", marker)(source)
        except (AnysizeError, MemoryError, ImportError):
            raise
        except Exception as error:  # a stranger's reader, over a stranger's file
            raise DataError(f"{source} cannot be read as {marker} ({reason_of(error)})") from error
        if isinstance(data, Data):
            return data
        if data is not None:
            raise DataError(f"the reader of {marker} gave {shown(data)}; expected Data")
    return None


def is_drawn(name: str) -> bool:
    """Whether a name stands for data that a registered reader draws, as ``uma:2000`` does."""
    return any(_matches(name, marker) for marker in names("readers"))


def _matches(source: Path | str, marker: str) -> bool:
    if isinstance(source, str):
        return ":" in marker and fnmatch(source, marker)
    return any(source.glob(marker)) if source.is_dir() else fnmatch(source.name, marker)


def _file(path: Path) -> Data:
    kind = rows.kind_of(path)
    packed = path.name.lower().endswith(".gz")
    if kind in (".npy", ".npz") and not packed and (registered := _registered(path)) is not None:
        return registered
    if kind in vectors.SUFFIXES and not packed:
        data = data_from_vectors(path.stem, vectors.vectors_of(path), str(path))
        labels, said = vectors.labels_of(path, len(data.items()))
        return replace(data, labels=labels, notes=(*said, *data.notes))
    if kind in rows.SUFFIXES and not (kind == ".parquet" and packed):
        notes: list[str] = []
        name = path.name[: -len(".gz")] if packed else path.name
        return data_from_rows(name[: -len(kind)], rows.rows_of(path, notes), str(path), notes, folder=path.parent)
    if (registered := _registered(path)) is not None:
        return registered
    packable = ", ".join(one for one in rows.SUFFIXES if one != ".parquet")
    raise DataError(
        f"cannot tell what {path} holds from its name; expected one of {packable} (these also .gz), "
        f"{', '.join(vectors.SUFFIXES)}, .parquet"
    )


def _hub(name: str) -> Data:
    parts = name.split(":")
    if len(parts) > 3 or not all(parts):
        raise DataError(f"cannot read {name!r}; write a `datasets` name as name, name:split or name:config:split")
    split = parts[-1] if len(parts) > 1 else "train"
    try:
        import datasets
    except ImportError:
        raise DataError(f'there is no file {name}; to load it by name, pip install "anysize[text]"') from None
    try:
        table = datasets.load_dataset(parts[0], parts[1] if len(parts) == 3 else None, split=split)
    except Exception as error:  # each hub, cache and network failure has its own class; all mean "not loaded"
        raise DataError(
            f"there is no file {name}, and `datasets` could not load that name ({reason_of(error)})"
        ) from None
    return data_from_memory(table, name)


def _looks_like_a_path(source: str) -> bool:
    known = (*rows.SUFFIXES, *vectors.SUFFIXES, ".gz")
    return source.startswith((".", "/", "~")) or source.endswith("/") or source.count("/") > 1 or source.endswith(known)
