"""What can be indexed, as checked batches of vectors, ids and texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from anysize.core.errors import DataError, SizeError
from anysize.core.sides import SidedTexts
from anysize.search.sparse import codes_of, is_sparse

_TEXTS = 1024
_ROWS = 65536


class Encoder(Protocol):
    """What an index needs of a model: its sizes, which one it runs at, and vectors of unit length."""

    nesting: Any
    size: Any

    def encode(self, items: Any) -> np.ndarray:
        """Vectors float32 (n, dims) of texts, or of vectors if the model takes them."""
        ...


@dataclass(frozen=True)
class Batch:
    """Rows ready to be written."""

    vectors: np.ndarray
    ids: list[str] | None
    texts: list[str] | None
    source: str
    """What they were made from: "texts", "encoded" (vectors through the model) or "vectors" (as they are)."""
    codes: Any = None
    """Their sparse codes, a ``csr_array`` (n, latents), if the model makes such; `vectors` are then what it read."""


def embed(model: Any, rows: Any, side: Literal["query", "document"], first: int = 0) -> np.ndarray:
    """
    Vectors of queries or of documents.

    A model that may embed the two differently (`encode_query`, `encode_document`) is asked by these; every other model
    has one `encode`. Of a model of sparse codes, what it reads: vectors as they are, and texts as its `features`.
    `first` is the number of the first row, for the message about a text that is none.
    """
    if not isinstance(rows, np.ndarray):
        _check_texts(rows, side, first)
    if is_sparse(model):
        if isinstance(rows, np.ndarray):
            return rows
        if not hasattr(model, "features"):
            raise DataError("this sparse model reads vectors and knows no encoder of texts; give their embeddings")
        return np.asarray(model.features(SidedTexts(rows, side)))
    return np.asarray(getattr(model, f"encode_{side}", model.encode)(rows))


def batches(items: Any, ids: Iterable[object] | None, model: Encoder | None) -> Iterator[Batch]:
    """
    Cut `items` into batches of checked rows.

    `items` is a list of texts, vectors (n, d), an `Items` (ids with texts or vectors), or an iterable of any of these
    for corpora that do not fit in memory. With a model, texts and vectors are encoded by it; without one, vectors are
    taken as they are. Raises `DataError`, naming the row.
    """
    given = None if ids is None else iter(ids)
    done = 0
    for part in _parts(items):
        own, texts, raw = _columns(part)
        for start in range(0, len(raw), step := (_TEXTS if texts is not None else _ROWS)):
            rows = raw[start : start + step]
            if texts is not None and model is None:
                raise DataError("texts need a model that encodes them; name one, or give vectors")
            if isinstance(rows, np.ndarray) and not rows.flags.writeable and model is not None:
                rows = rows.copy()  # a batch of a mapped file; PyTorch warns of arrays that cannot be written
            vectors = np.asarray(rows) if model is None else embed(model, rows, "document", done)
            codes = codes_of(model, vectors) if is_sparse(model) else None
            if len(vectors) != len(rows):
                raise DataError(f"the model made {len(vectors)} vectors of {len(rows)} items")
            names: list[object] | None = None if own is None else list(own[start : start + step])
            if given is not None:
                names = list(itertools.islice(given, len(rows)))
                if len(names) < len(rows):
                    raise DataError(
                        f"{done + len(names)} ids for at least {done + len(rows)} items; give one id per item"
                    )
            kind = "texts" if texts is not None else "vectors" if model is None or codes is not None else "encoded"
            kept = list(rows) if texts is not None else None
            yield Batch(check_vectors(vectors, done), _check_ids(names, done), kept, kind, codes)
            done += len(rows)
    if given is not None and next(given, None) is not None:
        raise DataError(f"more ids than the {done} items; give one id per item")


def count(items: Any) -> int | None:
    """How many items there are, if that is known before reading them."""
    return len(items) if _is_one(items) else None


def _check_texts(texts: Iterable[str], side: str, first: int) -> None:
    """Raise `DataError` for half a character, which is what Python makes of bytes that are not UTF-8."""
    for row, text in enumerate(texts, start=first):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(f"{side} {row} (from 0) holds bytes that are not UTF-8 text; correct it") from None


def check_vectors(vectors: np.ndarray, first_row: int = 0) -> np.ndarray:
    """Vectors as float32 (n, d). Raises `DataError` naming the first row that holds NaN or an infinite value."""
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise DataError(f"expected vectors as rows of numbers, got shape {vectors.shape} of {vectors.dtype}")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, np.float32)
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        raise DataError(f"row {first_row + int(np.argmin(finite))} holds NaN or an infinite value; remove or repair it")
    return vectors


def _is_one(items: Any) -> bool:
    if isinstance(items, (str, bytes)):
        raise DataError("expected a list of texts, got one text; put it in a list")
    if isinstance(items, np.ndarray) or hasattr(items, "ids"):
        return True
    return isinstance(items, Sequence) and (not items or isinstance(items[0], (str, float, int)) or _is_row(items[0]))


def _is_row(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], (int, float))


def _parts(items: Any) -> Iterator[Any]:
    if _is_one(items):
        yield items
    else:
        yield from items


def _columns(part: Any) -> tuple[list[str] | None, list[str] | None, Any]:
    """(ids, texts, what is to be encoded or stored) of one batch."""
    if hasattr(part, "ids"):
        return part.ids, part.texts, part.vectors if part.texts is None else part.texts
    if isinstance(part, np.ndarray):
        return None, None, part
    if len(part) and isinstance(part[0], str):
        for row, text in enumerate(part):
            if not isinstance(text, str):
                raise DataError(f"item {row} is {type(text).__name__} among texts; expected texts alone")
        return None, part, part
    try:
        return None, None, np.array(part, dtype=np.float32)
    except (ValueError, TypeError):
        raise DataError("expected texts, or vectors of one width; the rows given differ in width or kind") from None


def _check_ids(names: list[Any] | None, first_row: int) -> list[str] | None:
    if names is None:
        return None
    checked = [str(name) for name in names]
    for row, name in enumerate(checked):
        if not name:
            raise DataError(f"item {first_row + row} has an empty id")
    return checked


def check_width(vectors: np.ndarray, dims: int, what: str) -> None:
    """Raise `SizeError` if vectors (n, d) are not `dims` wide."""
    if vectors.shape[1] != dims:
        raise SizeError(f"{what} of {vectors.shape[1]} coordinates for an index of {dims}; expected the same width")
