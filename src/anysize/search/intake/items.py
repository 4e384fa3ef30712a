"""What can be indexed, as checked batches of vectors, ids and texts."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from anysize.core.arguments import shown
from anysize.core.data.records import Items
from anysize.core.errors import DataError, SizeError, UnreadableError
from anysize.core.model.faces import Embeds
from anysize.core.sides import Side
from anysize.core.verbs import left_out
from anysize.evaluation.once import precision
from anysize.search.intake.given import as_array, check_texts, check_vectors, plain
from anysize.search.intake.ids import id_of
from anysize.search.intake.parts import check_reads, in_words, is_parts
from anysize.search.intake.passages import passages
from anysize.search.store.sparse import codes_of

_TEXTS = 1024
_ROWS = 65536
_STEPS = {"vector": _ROWS, "image": 256}
"""Items that are embedded together; of pictures fewer, since they are embedded again if one of them is broken."""
_ROW = (np.ndarray, list, tuple, numbers.Real)


@runtime_checkable
class Encoder(Protocol):
    """What an index needs of a model: which it is, its sizes and tasks, what it gives, and that of items."""

    nesting: Any
    size: Any
    tasks: Any
    task: Any

    @property
    def gives(self) -> str:
        """``codes``, sparse ones, of which it says `code_shape` (`anysize.core.model.faces.Codes`); else vectors."""
        ...

    @property
    def fingerprint(self) -> str:
        """What tells it from others."""
        ...

    def at(self, size: Any, /) -> Any:
        """Its view at a size."""
        ...

    def encode(self, items: Any, /, *, side: Side | None = None) -> Any:
        """Of texts, or of vectors if the model takes them: vectors of unit length, float32 (n, dims), or codes."""
        ...


@dataclass(frozen=True)
class Batch:
    """Rows ready to be written."""

    vectors: np.ndarray
    ids: list[str] | None
    texts: list[str] | None
    """What to show them by."""
    source: str
    """What they were made from: "texts" (or pictures, or both), "encoded" (vectors through the model) or "vectors" (as
    they are)."""
    parts: list[int] | None = None
    """How many rows, passages of its text, each item has; None: one each. Ids are those of items."""
    codes: Any = None
    """Their sparse codes, a ``csr_array`` (n, latents), if the model makes such; `vectors` are then what it read."""


def embed(model: Any, rows: Any, side: Side) -> np.ndarray:
    """
    Vectors of queries or of documents.

    Of a model of sparse codes, what it reads: vectors as they are, and texts as its `features`. Documents are embedded
    in the precision in which `measure` embeds them.
    """
    how = precision(model) if side == "document" and isinstance(model, Embeds) else {}
    return np.asarray((model.features if model.gives == "codes" else model.encode)(rows, side=side, **how))


def batches(
    items: Any,
    ids: Iterable[object] | None,
    model: Encoder | None,
    *,
    in_passages: bool = False,
    strict: bool = True,
) -> Iterator[Batch]:
    """
    Cut `items` into batches of checked rows.

    `items` is a list of texts or of lists of parts, vectors (n, d), an `Items` (ids with any of these, or pictures), or
    an iterable of such, for corpora that do not fit in memory. A model encodes them; without one, vectors are taken as
    they are. With `in_passages`, a text that the model does not read whole is several rows. Unless `strict`, files that
    cannot be read are left out, and named on standard error in the end; not where items are called by their numbers.
    Raises `DataError`, naming the row.
    """
    broken = list[DataError]()
    given = None if ids is None else iter(_several(ids))
    done = 0
    for part in _parts(items):
        own, of, raw = _columns(part, done)
        for start in range(0, len(raw), step := _STEPS.get(of, _TEXTS)):
            rows = raw[start : start + step]
            if of != "vector" and model is None:
                raise DataError("texts need a model that encodes them; name one, or give vectors")
            if of not in ("vector", "text"):
                check_reads(model, of)
            if of == "vector":
                rows = check_vectors(rows, first=done)
                if not rows.flags.writeable and model is not None:
                    rows = rows.copy()  # a batch of a mapped file; PyTorch warns of arrays that cannot be written
            parts, size = None, len(rows)
            if in_passages and of != "vector":
                cut = passages(model, rows)
                parts, rows = [len(one) for one in cut], [text for one in cut for text in one]
            places: list[int] | None = None
            try:
                vectors = rows if model is None else embed(model, rows, "document")
            except UnreadableError as error:
                if strict or (own is None and given is None):
                    raise
                broken += error.errors.values()
                places = [place for place in range(len(rows)) if place not in error.errors]
                rows = [rows[place] for place in places]
                vectors = embed(model, rows, "document")
            codes = codes_of(model, vectors) if model is not None and model.gives == "codes" else None
            if len(vectors) != len(rows):
                raise DataError(f"the model made {len(vectors)} vectors of {len(rows)} items")
            names: list[object] | None = None if own is None else list(own[start : start + size])
            if given is not None:
                names = list(itertools.islice(given, size))
                if len(names) < size:
                    raise DataError(f"{done + len(names)} ids for at least {done + size} items; give one id per item")
            if names is not None and places is not None:
                names = [names[place] for place in places]
            kind = "texts" if of != "vector" else "vectors" if model is None or codes is not None else "encoded"
            kept = None if of == "vector" else [row if of == "text" else in_words(row) for row in rows]
            named = None if names is None else [id_of(name, f"item {row}") for row, name in enumerate(names, done)]
            made = vectors if vectors is rows else check_vectors(vectors, first=done)
            if places != []:
                yield Batch(made, named, kept, kind, parts, codes)
            done += size
    if given is not None and next(given, None) is not None:
        raise DataError(f"more ids than the {done} items; give one id per item")
    if broken:
        left_out.tell(dict(enumerate(broken)), done)


def count(items: Any) -> int | None:
    """How many items there are, if that is known before reading them."""
    items = plain(items)
    return len(items) if _is_one(items) else None


def _is_one(items: Any) -> bool:
    """Whether this is one batch and not an iterable of batches."""
    if isinstance(items, (np.ndarray, Items)):
        return True
    return isinstance(items, Sequence) and (not items or not _is_batch(items[0]))


def _is_batch(value: Any) -> bool:
    """Whether an element of a list is a batch itself: an array of vectors, `Items`, or a list of texts or vectors."""
    value = plain(value)
    if isinstance(value, np.ndarray):
        return value.ndim > 1
    if isinstance(value, Items):
        return True
    return isinstance(value, (list, tuple)) and bool(value) and not isinstance(value[0], (numbers.Real, Mapping))


def _parts(items: Any) -> Iterator[Any]:
    items = plain(items)
    if isinstance(items, (str, bytes)):
        raise DataError("expected a list of texts, got one text; put it in a list")
    if _is_one(items):
        yield items
    elif isinstance(items, Iterable) and not isinstance(items, Mapping):
        yield from map(plain, items)
    else:
        raise DataError(f"expected texts, vectors or batches of them; got {shown(items)}")


def _several(ids: Iterable[object]) -> Iterable[object]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable) or getattr(ids, "ndim", 1) != 1:
        raise DataError(f"expected one id an item, got {shown(ids)}; put them in a list")
    return ids


def _columns(part: Any, first: int) -> tuple[list[str] | None, str, Any]:
    """(ids, kind, what is to be encoded or stored) of one batch, of which the first item has this number."""
    if isinstance(part, Items):
        rows = part.rows if part.texts is None else check_texts(part.texts, "document", first)
        return None if part.numbered else part.ids, part.of, rows
    if isinstance(part, np.ndarray):
        return None, "vector", part
    if not isinstance(part, Sequence) or isinstance(part, (str, bytes)):
        raise DataError(
            f"expected a batch, such as a list of texts or vectors, got {shown(part)}; put the items in a list"
        )
    if any(map(is_parts, part[:1])):
        odd = next((row for row, one in enumerate(part, first) if not is_parts(one)), None)
        if odd is not None:
            raise DataError(f"document {odd} (from 0) is no list of parts, as those before are; expected one kind")
        return None, "parts", part
    if any(isinstance(one, str) for one in part[:1]) or not all(isinstance(one, _ROW) for one in part):
        return None, "text", check_texts(part, "document", first)
    return None, "vector", as_array(part)


def check_width(vectors: np.ndarray, dims: int, what: str) -> None:
    """Raise `SizeError` if vectors (n, d) are not `dims` wide."""
    if vectors.shape[1] != dims:
        raise SizeError(f"{what} of {vectors.shape[1]} coordinates for an index of {dims}; expected the same width")
