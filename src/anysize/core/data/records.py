"""The parts of a data set: items to embed, pairs to learn from, scored pairs and judgements to measure by."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from anysize.core.arguments import shown
from anysize.core.errors import DataError

T = TypeVar("T")

Judgements = dict[str, dict[str, float]]
"""Query id -> document id -> gain."""


@dataclass(frozen=True)
class Items:
    """
    Things to embed, or their vectors: exactly one of `texts` and `vectors` is there.

    Raises `DataError` if both or neither are, or if the counts differ.
    """

    ids: list[str]
    texts: list[str] | None = None
    vectors: np.ndarray | None = None
    """(n, d) float32; may be a memory map."""
    numbered: bool = False
    """Whether the ids are numbers that reading gave, because the source has none."""

    def __post_init__(self) -> None:
        for name, held in (("ids", self.ids), ("texts", self.texts), ("vectors", self.vectors)):
            if held is not None or name == "ids":
                _check_sized(held, name)
        if (self.texts is None) == (self.vectors is None):
            raise DataError("items hold either texts or vectors; give exactly one of the two")
        held = self.texts if self.texts is not None else self.vectors
        assert held is not None
        if len(self.ids) != len(held):
            raise DataError(f"{len(self.ids)} ids for {len(held)} items; give one id per item")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int] | np.ndarray) -> Items:
        """The items at these positions, in that order."""
        ids = [self.ids[index] for index in indices]
        if self.texts is not None:
            return Items(ids, texts=[self.texts[index] for index in indices])
        assert self.vectors is not None
        return Items(ids, vectors=np.ascontiguousarray(self.vectors[np.asarray(indices, dtype=np.intp)]))


@dataclass(frozen=True)
class Pairs:
    """
    Texts that belong together, row by row, and perhaps some that do not belong.

    Raises `DataError` if the columns differ in length.
    """

    anchors: list[str]
    positives: list[str]
    negatives: tuple[list[str], ...] = ()
    """Columns of texts that do not belong to their anchors. One list of texts is taken for one column."""

    def __post_init__(self) -> None:
        given: Sequence[Any] = self.negatives or ()
        one = bool(given) and isinstance(given[0], str)
        object.__setattr__(self, "negatives", (list(given),) if one else tuple(given))
        for column in self.columns:
            _check_sized(column, "a column of pairs")
        for column in self.columns[1:]:
            if len(column) != len(self.anchors):
                raise DataError(f"{len(self.anchors)} anchors beside {len(column)} partners; give one per anchor")

    @property
    def columns(self) -> list[list[str]]:
        """Anchors, positives, and every column of negatives: what a loss over columns takes."""
        return [self.anchors, self.positives, *self.negatives]

    @property
    def kind(self) -> str:
        """What rows of this shape are called: ``pairs``, ``triplets``, or ``pairs with 4 negatives each``."""
        count = len(self.negatives)
        return ("pairs", "triplets")[count] if count < 2 else f"pairs with {count} negatives each"

    def __len__(self) -> int:
        return len(self.anchors)

    def take(self, indices: Sequence[int] | np.ndarray) -> Pairs:
        """The pairs at these positions, in that order."""
        anchors, positives, *negatives = (_at(column, indices) for column in self.columns)
        return Pairs(anchors, positives, tuple(negatives))


@dataclass(frozen=True)
class ScoredPairs:
    """
    Texts beside each other and how alike people called them, row by row, on any scale (higher is more alike).

    Raises `DataError` if the columns differ in length, or a score is not a finite number.
    """

    first: list[str]
    second: list[str]
    scores: list[float]

    def __post_init__(self) -> None:
        for column in (self.first, self.second, self.scores):
            _check_sized(column, "a column of scored pairs")
        if not len(self.first) == len(self.second) == len(self.scores):
            raise DataError(
                f"{len(self.first)} first texts, {len(self.second)} second texts and {len(self.scores)} scores; "
                "give as many of each"
            )
        for row, score in enumerate(self.scores):
            if not isinstance(score, (int, float, np.integer, np.floating)) or not math.isfinite(score):
                raise DataError(f"row {row} (from 0) has the score {shown(score)}; expected a finite number")

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: Sequence[int] | np.ndarray) -> ScoredPairs:
        """The pairs at these positions, in that order."""
        return ScoredPairs(_at(self.first, indices), _at(self.second, indices), _at(self.scores, indices))


@dataclass(frozen=True)
class Retrieval:
    """A retrieval task: queries, the documents to search, and which documents answer which query."""

    queries: Items
    """Those that are judged. One without a relevant document scores 0, as trec_eval has it."""
    corpus: Items
    qrels: Judgements
    """Query id -> document id -> gain above zero; a relevant document need not be in the corpus."""
    left_out: dict[str, frozenset[str]] = field(default_factory=dict)
    """Query id -> ids of documents that its ranking leaves out: those that are the query itself."""


def _check_sized(column: Any, what: str) -> None:
    alone = isinstance(column, (str, bytes, type)) or getattr(column, "ndim", 1) == 0
    if alone or not isinstance(column, Sized):
        raise DataError(f"{what} is {shown(column)}; expected a list with one entry an item")


def _at(column: Sequence[T], indices: Sequence[int] | np.ndarray) -> list[T]:
    return [column[index] for index in indices]


def negative_names(pairs: Pairs) -> list[str]:
    """What its columns of negatives are called where columns have names: negative, negative_2, ..."""
    return ["negative" if place == 1 else f"negative_{place}" for place in range(1, len(pairs.negatives) + 1)]
