"""One reader for every kind of source: a folder in BEIR layout, a file of rows or vectors, a `datasets` name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anysize.core import rows, vectors
from anysize.core.beir import read_beir
from anysize.core.data import Data, Items
from anysize.core.errors import DataError
from anysize.core.rows import Row
from anysize.core.shards import is_shards, read_shards
from anysize.core.tables import data_from_rows


def read_source(source: str | Path) -> Data:
    """As `anysize.core.data.read`."""
    path = Path(source)
    if path.is_dir():
        return _shards(path) if is_shards(path) else read_beir(path)
    if path.is_file():
        return _file(path)
    if isinstance(source, Path) or _looks_like_a_path(source):
        raise DataError(f"{source} does not exist")
    return _hub(source)


def _file(path: Path) -> Data:
    kind = rows.kind_of(path)
    if kind in vectors.SUFFIXES and path.suffix != ".gz":
        found, fingerprint = vectors.checked(vectors.vectors_of(path), str(path))
        return Data(path.stem, fingerprint, corpus=_numbered(found))
    if kind in rows.SUFFIXES and not (kind == ".parquet" and path.suffix == ".gz"):
        return data_from_rows(path.name.removesuffix(".gz").removesuffix(kind), rows.rows_of(path), str(path))
    known = ", ".join((*rows.SUFFIXES[:4], *vectors.SUFFIXES, rows.SUFFIXES[4]))
    raise DataError(f"cannot tell what {path} holds from its name; expected one of {known} (the first four also .gz)")


def _shards(path: Path) -> Data:
    found, fingerprint = vectors.checked(read_shards(path), str(path))
    return Data(path.name, fingerprint, corpus=_numbered(found))


def _numbered(found: np.ndarray) -> Items:
    return Items([str(row) for row in range(len(found))], vectors=found, numbered=True)


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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"there is no file {name}, and `datasets` could not load that name ({reason})") from None
    numbered = (Row(f"{name} row {number}", dict(values)) for number, values in enumerate(table, start=1))
    return data_from_rows(name, numbered, name)


def _looks_like_a_path(source: str) -> bool:
    known = (*rows.SUFFIXES, *vectors.SUFFIXES, ".gz")
    return source.startswith((".", "/", "~")) or source.endswith("/") or source.count("/") > 1 or source.endswith(known)
