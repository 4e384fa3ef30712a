"""The parts of a data set: items of one kind, tables of named columns, and judgements to measure by."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from anysize.core.arguments import shown
from anysize.core.data.held_out import held_out, key_of
from anysize.core.errors import DataError, nearest

T = TypeVar("T")

Judgements = dict[str, dict[str, float]]
"""Query id -> document id -> gain."""


@runtime_checkable
class Together(Protocol):
    """Rows that know more than each of them alone, such as which belong together, and take that along."""

    def some(self, indices: Sequence[int] | np.ndarray) -> Self:
        """The rows at these positions, in that order."""
        ...


@dataclass(frozen=True)
class Items:
    """
    Things of one kind, each with an id.

    Raises `DataError` if the counts differ.
    """

    ids: list[str]
    rows: Any
    """A sequence with one entry an item: texts; vectors (n, d) float32, perhaps a memory map; files; lists of parts."""
    of: str = "text"
    """What they are, in the words of a model's `reads`: text, vector, image, audio, video, parts."""
    numbered: bool = False
    """Whether the ids are numbers that reading gave, because the source has none."""

    def __post_init__(self) -> None:
        for name, held in (("ids", self.ids), ("rows", self.rows)):
            _check_sized(held, name)
        if len(self.ids) != len(self.rows):
            raise DataError(f"{len(self.ids)} ids for {len(self.rows)} items; give one id per item")

    @property
    def texts(self) -> list[str] | None:
        """The texts, or None if these are something else."""
        return self.rows if self.of == "text" else None

    @property
    def vectors(self) -> np.ndarray | None:
        """The vectors (n, d), or None if these are something else."""
        return self.rows if self.of == "vector" else None

    @property
    def holds(self) -> str:
        """How many of what: ``20 texts``, ``20 vectors of 384 dims``, ``12 images``."""
        what = {"audio": "sounds", "parts": "lists of parts"}.get(self.of, f"{self.of}s")
        return f"{len(self)} {what}" + (f" of {self.rows.shape[1]} dims" if self.of == "vector" else "")

    def __repr__(self) -> str:
        return f"Items({self.holds})"

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int] | np.ndarray) -> Items:
        """The items at these positions, in that order."""
        ids = [self.ids[index] for index in indices]
        if self.of == "vector":
            return Items(ids, np.ascontiguousarray(self.rows[np.asarray(indices, dtype=np.intp)]), self.of)
        if isinstance(self.rows, Together):
            return Items(ids, self.rows.some(indices), self.of)
        return Items(ids, _at(self.rows, indices), self.of)


@dataclass(frozen=True)
class Table:
    """
    Rows of named columns; what a column means, who uses it checks.

    Raises `DataError` if there is no column, or if they differ in length.
    """

    columns: dict[str, Sequence[Any]]
    """
    Where data sets name a thing differently, our name: anchor, positive and any negative, negative_2, ... for texts
    that belong together or not; sentence1, sentence2, score for how alike people called two texts (higher: more).
    """
    kinds: dict[str, str] = field(default_factory=dict)
    """Column -> what its cells are, where those are files (image, audio, video) or lists of parts (parts)."""
    called: dict[str, str] = field(default_factory=dict, compare=False)
    """What the source calls a column -> our name for it, by either of which it is found: question -> anchor."""

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            _check_sized(column, f"the column {name}")
        if len({len(column) for column in self.columns.values()}) != 1:
            lengths = ", ".join(f"{name}: {len(column)}" for name, column in self.columns.items()) or "none"
            raise DataError(f"a table needs columns of one length; got {lengths}")

    def __repr__(self) -> str:
        return f"Table({len(self)} {self.what})"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __contains__(self, name: str) -> bool:
        return name in self.columns or name in self.called

    def __getitem__(self, name: str) -> Sequence[Any]:
        """A column. Raises `DataError`, naming the nearest that there is, if it is not there."""
        if name not in self:
            raise DataError(f"there is no column {name}; {nearest(name, self.columns)}")
        return self.columns[self.called.get(name, name)]

    @property
    def negatives(self) -> list[str]:
        """The names of its columns of texts that do not belong to their anchors: negative, negative_2, ..."""
        return [name for name in self.columns if name.startswith("negative")]

    @property
    def paired(self) -> dict[str, Sequence[Any]]:
        """Its anchors, positives and every column of negatives: what a loss over columns takes."""
        return {name: self[name] for name in ("anchor", "positive", *self.negatives)}

    @property
    def what(self) -> str:
        """What its rows are called: ``pairs``, ``triplets``, ``pairs with 4 negatives each``, ``scored pairs``, ..."""
        if "anchor" in self and "positive" in self:
            count = len(self.negatives)
            return ("pairs", "triplets")[count] if count < 2 else f"pairs with {count} negatives each"
        return "scored pairs" if "sentence1" in self and "score" in self else f"rows of {', '.join(self.columns)}"

    def take(self, indices: Sequence[int] | np.ndarray) -> Table:
        """The rows at these positions, in that order."""
        return Table({name: _at(column, indices) for name, column in self.columns.items()}, self.kinds, self.called)

    def held_out(self, by: str, name: str = "the table") -> tuple[Table, Table]:
        """
        The rows to learn from, and those held out: a tenth of what is distinct in the column `by`, chosen by its hash.

        So the same are held out however the rows are ordered. Raises `DataError`, calling the table `name`, if the
        column holds one distinct thing, since then nothing is left to hold out.
        """
        keys = [cell if isinstance(cell, str) else key_of(cell) for cell in self[by]]
        held = held_out(keys, name, by)
        kept, out = ([row for row, key in enumerate(keys) if (key in held) is wanted] for wanted in (False, True))
        return self.take(kept), self.take(out)


@dataclass(frozen=True)
class Retrieval:
    """
    A retrieval task: queries, the documents to search, and which documents answer which query.

    It stands here, below what measures by it, because training learns from it too (`Data.training_pairs`), and what is
    told of overlap compares its queries.
    """

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
