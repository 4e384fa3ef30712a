"""What people hold in memory, read as a file of the same content is: lists, columns, arrays, and others' tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np

from anysize.core.arguments import shown
from anysize.core.data.data import Data
from anysize.core.data.files import vectors
from anysize.core.data.files.media import KINDS, kind_of_file
from anysize.core.data.files.rows import Row, by_row, short_list
from anysize.core.data.files.shards import Shards
from anysize.core.data.records import Items
from anysize.core.data.tables import data_from_rows
from anysize.core.errors import DataError

TAKEN = (
    "a path, a list of texts or of dicts, a dict of columns, an array of vectors (n, d), a DataFrame or a "
    "datasets.Dataset"
)
_BATCH = 4096
_INSTEAD = {
    "datasets.IterableDataset": "can be read in one way only; give a Dataset, or list(...) of the rows wanted",
    "pandas.Series": "is one column without its name; give a DataFrame, or its tolist() if these are texts",
    "polars.Series": "is one column without its name; give a DataFrame, or its to_list() if these are texts",
    "polars.LazyFrame": "is not computed yet; give its collect()",
}
"""What is nearly right -> what is said of it."""


_TABLES = {"datasets.Dataset", "pyarrow.Table", "pandas.DataFrame", "polars.DataFrame"}


def data_from_memory(given: Any, called: str | None = None) -> Data:
    """
    The data that a value holds: the content, the notes and the fingerprint of a file with the same rows or vectors.

    Other libraries are known by the names of their types, so none of them is imported. Vectors that are float32 already
    are not copied. `called` is its name, the kind of the value if not given.
    Raises `DataError` for anything else, saying what to give instead.
    """
    known = _types(given)
    for name, instead in _INSTEAD.items():
        if name in known:
            raise DataError(f"a {name} {instead}")
    if known & {"datasets.DatasetDict", "datasets.IterableDatasetDict"}:
        raise DataError(
            f"this holds the splits {short_list(given)}; give one of them, as data[{next(iter(given), '')!r}]"
        )
    if "datasets.Dataset" in known:
        declared = {name: type(feature).__name__.lower() for name, feature in given.features.items()}
        kinds = {name: kind for name, kind in declared.items() if kind in KINDS}
        return _rows(called or "the Dataset", _of_arrow(given.with_format("arrow").iter(_BATCH)), kinds)
    if "pyarrow.Table" in known:
        return _rows(called or "the table", _of_arrow(given.to_batches(_BATCH)))
    if "pandas.DataFrame" in known or "polars.DataFrame" in known:
        return _columns(called or "the DataFrame", {name: given[name] for name in _distinct(given.columns)})
    if "torch.Tensor" in known:
        return data_from_vectors(called or "the tensor", _of_tensor(given))
    if isinstance(given, (np.ndarray, Shards)):
        return _array(given, called or "the array")
    if isinstance(given, Mapping):
        return _columns(called or "the dict", given)
    if isinstance(given, (list, tuple)):
        return _list(given, called or "the list")
    if isinstance(given, (set, frozenset)):
        raise DataError(
            "a set has no order, in which its rows could be counted; give a list, such as sorted(...) of it"
        )
    if isinstance(given, Iterator):
        raise DataError(f"{shown(given)} can be read only once; give a list of what it yields")
    raise DataError(f"{shown(given)} is no data; expected {TAKEN}")


def is_table(given: Any) -> bool:
    """Whether this holds rows of named columns, whatever library they are of."""
    rows = given[0] if isinstance(given, (list, tuple)) and given else given
    return isinstance(rows, Mapping) or bool(_types(given) & _TABLES)


def _types(given: Any) -> set[str]:
    """``library.Class`` of what this is, and of all that it inherits from."""
    return {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(given).__mro__}


def data_from_vectors(name: str, found: Any, where: str | None = None) -> Data:
    """Vectors (n, d) alone, each with its number for an id. Raises `DataError`, naming a bad row."""
    checked = vectors.checked(found, where or name)
    items = Items([str(row) for row in range(len(checked.rows))], checked.rows, "vector", numbered=True)
    return Data(name, checked.fingerprint, corpus=items, notes=checked.notes)


def _rows(name: str, rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, str] | None = None) -> Data:
    numbered = (Row(f"{name}, row {number} (from 0)", dict(values)) for number, values in enumerate(rows))
    return data_from_rows(name, numbered, name, kinds=kinds)


def _of_arrow(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _list(given: list[Any] | tuple[Any, ...], name: str) -> Data:
    if not given:
        raise DataError(f"{name} is empty; expected {TAKEN}")
    if isinstance(given[0], os.PathLike) and (of := kind_of_file(given[0])) is not None:
        return _rows(name, ({of: path} for path in given))
    kind: Any = next((kind for kind in (str, Mapping) if isinstance(given[0], kind)), None)
    if kind is None:
        return data_from_vectors(name, _of_lists(given, name))
    for place, one in enumerate(given):
        if not isinstance(one, kind):
            beside = "texts" if kind is str else "dicts"
            raise DataError(f"{name} holds {shown(one)} at place {place} (from 0), among {beside}; expected one kind")
    return _rows(name, ({"text": text} for text in given) if kind is str else given)


def _array(given: np.ndarray | Shards, name: str) -> Data:
    if np.ma.is_masked(given):
        raise DataError(f"{name} has masked values; remove or fill them")
    if not isinstance(given, Shards) and given.ndim == 1 and all(isinstance(one, str) for one in given):
        return _rows(name, ({"text": str(text)} for text in given))
    plain = given if isinstance(given, (np.memmap, Shards)) else np.asarray(given)
    return data_from_vectors(name, plain)


def _columns(name: str, given: Mapping[Any, Any]) -> Data:
    columns = {}
    for column, cells in given.items():
        if not isinstance(column, str):
            raise DataError(f"{name} has a column called {shown(column)}; expected a text as the name of each column")
        columns[column] = _cells(cells, f"the column {column} of {name}")
    if not columns or not next(iter(columns.values())):
        raise DataError(f"{name} holds no rows; expected {TAKEN}")
    return _rows(name, by_row(columns, name))


def _cells(given: Any, what: str) -> list[Any]:
    """One value a row; what pandas and polars hold for a missing one is None."""
    library = type(given).__module__.partition(".")[0]
    if library == "pandas" and hasattr(given, "notna"):
        return list(given.astype(object).where(given.notna(), None))
    if library == "polars" and hasattr(given, "to_list"):
        return list(given.to_list())
    if isinstance(given, np.ndarray) and given.ndim:
        return list(given) if given.ndim > 1 and given.dtype.kind in "fiu" else given.tolist()
    if library == "torch" and hasattr(given, "detach"):
        return _cells(_of_tensor(given), what)
    if not isinstance(given, (list, tuple)):
        raise DataError(f"{what} is {shown(given)}; expected a list with one value a row")
    return list(given)


def _distinct(names: Any) -> list[Any]:
    twice = next((name for place, name in enumerate(names) if name in list(names)[:place]), None)
    if twice is not None:
        raise DataError(f"the DataFrame has two columns called {twice}; expected names that differ")
    return list(names)


def _of_tensor(given: Any) -> np.ndarray:
    try:
        held = given.detach().cpu()
        return (held.float() if held.is_floating_point() else held).numpy()
    except (RuntimeError, TypeError, NotImplementedError):  # without values, sparse or quantised
        raise DataError(f"{shown(given)} cannot be read as an array; give its values as a dense tensor") from None


def _of_lists(given: Any, name: str) -> np.ndarray:
    """Vectors in a list, each a list, an array or a tensor of numbers."""
    for place, one in enumerate(given):
        if isinstance(one, Real) and not isinstance(one, bool):
            raise DataError(f"{name} holds numbers, so it is one vector; give a list of vectors")
        if one is None or (not isinstance(one, (list, tuple, np.ndarray)) and not hasattr(one, "detach")):
            raise DataError(f"{name} holds {shown(one)} at place {place} (from 0); expected {TAKEN}")
    try:
        found = np.array([_of_tensor(one) if hasattr(one, "detach") else one for one in given])
    except (ValueError, TypeError):
        raise DataError(f"{name} holds rows of different widths or kinds; expected vectors of one width") from None
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise DataError(f"{name} holds rows that are no vectors ({shown(found)}); expected {TAKEN}")
    return found
