"""The two sides of a search, which many encoders embed differently: what is asked, and what answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

Side = Literal["query", "document"]
Sides = Literal["retrieval", "symmetric"]
"""How columns of pairs stand: the first asks and the others answer, or all alike."""


def sides_of_columns(sides: Sides, columns: int) -> tuple[Side | None, ...]:
    """The side of each of so many columns of texts that belong together row by row."""
    first: tuple[Side | None, ...] = ("query",) if sides == "retrieval" else (None,)
    rest: tuple[Side | None, ...] = ("document",) if sides == "retrieval" else (None,)
    return (*first, *rest * (columns - 1))


def side_of_texts(sides: Sides) -> Side | None:
    """The side of texts that stand alone: documents, which is what an index would hold."""
    return "document" if sides == "retrieval" else None


class SidedTexts(list[str]):
    """Texts that say which side they stand on. A model that knows no sides reads them as the list that they are."""

    def __init__(self, texts: Iterable[str], side: Side | None) -> None:
        super().__init__(texts)
        self.side = side


def side_of(texts: Any) -> Side | None:
    """The side that `SidedTexts` name; None for any other texts, which are embedded without one."""
    return texts.side if isinstance(texts, SidedTexts) else None


class TwoSided:
    """Adds to an ``encode(inputs, side=...)`` the two methods that users of sentence-transformers know, and `run`."""

    encode: Callable[..., Any]

    def run(self, items: Any, *, side: Side | None = None, batch_size: int = 64) -> Any:
        """A vector for each item: `encode`."""
        return self.encode(items, side=side, batch_size=batch_size)

    def encode_query(self, inputs: Any, **options: Any) -> Any:
        """`encode` of what is asked: behind the model's query prompt, where it has one."""
        return self.encode(inputs, side="query", **options)

    def encode_document(self, inputs: Any, **options: Any) -> Any:
        """`encode` of what answers: behind the model's document prompt, where it has one."""
        return self.encode(inputs, side="document", **options)
