"""
Long texts in passages: what a model does not read of a text is cut there without a word, unless each part is an item.

The passages of the item "a" are the items "a#1", "a#2" and so on; an item that is read whole keeps its id. In an index
of passages no id of an item may end like that, so that the two are never taken for each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.faces import ReadsTexts
from anysize.search.intake.given import plain

_ADVICE = "; index them in passages (--passages) to keep the rest"
_PASSAGE = re.compile(r"(.*)#\d+", re.DOTALL)


def say_cut(model: Any, items: Any) -> None:
    """Tell how many of `items` the model does not read whole, where that can be known before they are read."""
    given = plain(items)
    texts = given.texts if isinstance(given, Items) else given if isinstance(given, (list, tuple)) else None
    if isinstance(model, ReadsTexts) and texts and all(isinstance(text, str) for text in texts):
        model.window().say_cut(texts, _ADVICE)


def passages(model: Any, texts: Sequence[str]) -> list[list[str]]:
    """The passages of each text. Raises `AnysizeError` for a model that does not say how much it reads."""
    if not isinstance(model, ReadsTexts):
        raise AnysizeError("passages need a model that says how much of a text it reads; this one does not")
    spans = model.window().passages(texts)
    return [
        [text[start:end].strip() for start, end in own] if len(own) > 1 else [text]
        for text, own in zip(texts, spans, strict=True)
    ]


def names_of(name: str, count: int) -> list[str]:
    """The ids of an item's passages. Raises `DataError` for an id that looks like that of one."""
    if _PASSAGE.fullmatch(name):
        raise DataError(f"the id {name!r} ends like that of a passage (#1, #2, ...); give the item another")
    return [name] if count == 1 else [f"{name}#{number}" for number in range(1, count + 1)]


def item_of(name: str) -> str:
    """The id of the item that a passage is of; of an item that is whole, its own."""
    found = _PASSAGE.fullmatch(name)
    return found[1] if found else name
