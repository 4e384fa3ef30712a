"""What callers hand over, as a list of texts or an array of vectors: lists, arrays, columns of a table, tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from anysize.core.arguments import shown
from anysize.core.data.data import Data
from anysize.core.data.memory import data_from_memory, is_table
from anysize.core.errors import DataError
from anysize.search.intake.parts import in_words, is_parts

PACKED = (np.uint8, np.int8)


def items_of(given: Any) -> Any:
    """The items of a table or of `Data`, with their ids; anything else, a table of numbers alone too, as it is."""
    if isinstance(given, Data):
        return given.items()
    if not is_table(given) or (isinstance(given, _ArrayLike) and np.asarray(given).dtype.kind in "fiu"):
        return given
    return data_from_memory(given).items()


@runtime_checkable
class _ArrayLike(Protocol):
    """Tensors of any library, and the columns and tables of pandas and its like."""

    def __array__(self) -> np.ndarray: ...


def plain(given: Any) -> Any:
    """The same as an array or a list of texts, if it is array-like; else as it is. Raises `DataError`."""
    if not isinstance(given, (np.ndarray, str, bytes, Sequence)) and isinstance(given, _ArrayLike):
        try:
            given = np.asarray(given)
        except (TypeError, ValueError, RuntimeError):  # a tensor without values, or one that training still needs
            raise DataError(f"{shown(given)} cannot be read as an array; give its values") from None
    if isinstance(given, np.ndarray) and not given.ndim:
        raise DataError("expected several texts or vectors, got an array that holds one thing")
    if isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "UOT":
        return given.tolist()
    return given


def many_queries(given: Any) -> list[Any] | np.ndarray:
    """Several queries: a list of texts and lists of parts, or vectors (q, d). Raises `DataError` for anything else."""
    given = plain(given)
    if isinstance(given, (str, bytes)):
        raise DataError("search_many takes a list of queries, got one; put it in a list, or use search")
    if isinstance(given, np.ndarray):
        return _unpacked(given, "query")
    if not isinstance(given, Sequence):
        raise DataError(f"expected a list of texts or vectors as queries, got {shown(given)}")
    if any(isinstance(one, str) or one is None or is_parts(one) for one in given):
        texts = check_texts([in_words(one) if is_parts(one) else one for one in given], "query")
        empty = next((row for row, text in enumerate(texts) if not text.strip()), None)
        if empty is not None:
            raise DataError(f"query {empty} (from 0) is empty; give something to look for")
        return list(given)
    return _unpacked(as_array(given), "query") if len(given) else []


def one_query(given: Any) -> list[Any] | np.ndarray:
    """One text, list of parts or vector (d,) or (1, d), as `many_queries` takes it. Raises `DataError` for others."""
    if isinstance(given, str) or is_parts(given):
        return [given]
    query = np.atleast_2d(as_array(plain(given)))
    if len(query) != 1:
        raise DataError(f"search takes one query, got {len(query)}; use search_many")
    return query


def check_texts(texts: Sequence[Any], what: str, first: int = 0) -> list[str]:
    """The texts. Raises `DataError`, naming the row, for what is none, or for half a character."""
    for row, text in enumerate(texts, start=first):
        if not isinstance(text, str):
            raise DataError(f"{what} {row} (from 0) is {shown(text)} among texts; expected text")
        try:
            text.encode()
        except UnicodeEncodeError:  # half a character is what Python makes of bytes that are not UTF-8
            raise DataError(f"{what} {row} (from 0) holds bytes that are not UTF-8 text; correct it") from None
    return list(texts)


def check_vectors(given: Any, what: str = "row", first: int = 0) -> np.ndarray:
    """
    Vectors as float32 (n, d).

    Raises `DataError` for anything else, naming the first row that holds NaN or an infinite value, for vectors of
    masked values, and for bytes: packed bits and quantised values have no cosine that could be taken of them.
    """
    vectors = _unpacked(as_array(given), what, first)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise DataError(f"expected vectors as rows of numbers, got shape {vectors.shape} of {vectors.dtype}")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, np.float32)
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        row = first + int(np.argmin(finite))
        raise DataError(f"{what} {row} (from 0) holds NaN or an infinite value; remove or repair it")
    return vectors


def _unpacked(vectors: np.ndarray, what: str, first: int = 0) -> np.ndarray:
    """The same. Raises `DataError` for bytes and for masked values, naming the row."""
    if vectors.dtype in PACKED:
        raise DataError(
            f"these are vectors of {vectors.dtype}, so packed bits or quantised values, which cannot be ranked as "
            "numbers; give the float vectors they were made from"
        )
    if np.ma.is_masked(vectors):
        row = int(np.argmax(np.ma.getmaskarray(vectors).reshape(len(vectors), -1).any(axis=1)))
        raise DataError(f"{what} {first + row} (from 0) holds masked values; remove or fill them")
    return vectors


def as_array(given: Any) -> np.ndarray:
    """Rows as an array of whatever they hold. Raises `DataError` if they differ in width."""
    if isinstance(given, np.ndarray):
        return given
    try:
        return np.array(given)
    except (ValueError, TypeError):
        raise DataError("expected texts, or vectors of one width; the rows given differ in width or kind") from None
