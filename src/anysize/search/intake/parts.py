"""Items and queries of several parts, texts and pictures, for models that read such."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from anysize.core.errors import AnysizeError, DataError


@runtime_checkable
class Says(Protocol):
    """What a nested model says of itself, and another encoder need not."""

    reads: tuple[str, ...]
    """Kinds of items: text, vector, image, parts."""
    mixes_sizes: bool
    """Whether vectors of two sizes can be compared."""


def is_parts(given: Any) -> bool:
    """Whether this is one thing of several parts: a list of dicts, each a text, a picture or the like."""
    return isinstance(given, (list, tuple)) and bool(given) and all(isinstance(part, Mapping) for part in given)


def reads(model: Any, of: str) -> bool:
    """Whether a model says that it reads items of such a kind, which an encoder that says nothing does of texts."""
    return of in model.reads if isinstance(model, Says) else of == "text"


def alone(queries: list[Any]) -> list[Any]:
    """The picture of each query, for a model that reads pictures alone. Raises `DataError` for words, or several."""
    found = []
    for query in queries:
        if not is_parts(query) or len(query) != 1 or "image" not in query[0]:
            raise DataError(
                f"the model reads pictures, one a query; got {in_words(query) if is_parts(query) else query!r}"
            )
        found.append(query[0]["image"])
    return found


def check_reads(model: Any, of: str) -> None:
    """Raise `AnysizeError` if a model does not read items of such a kind: parts or image."""
    if not reads(model, of):
        what = {"parts": "texts beside pictures", "image": "pictures"}.get(of, of)
        raise AnysizeError(f"the model does not read {what}; expected one that does, as the method mme makes it")


def in_words(row: Any) -> str:
    """What is kept of an item of parts to show it by: its words, and in brackets what stands between them."""
    if not is_parts(row):
        return _named("image", row)
    said = (str(held) if of == "text" else _named(of, held) for part in row for of, held in part.items())
    return " ".join(one for one in map(str.strip, said) if one)


def _named(of: str, held: Any) -> str:
    return f"[{os.path.basename(held) if isinstance(held, (str, os.PathLike)) else of}]"
