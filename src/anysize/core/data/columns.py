"""What training reads row by row: texts in columns, each on its side of a search, perhaps with a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from anysize.core.data.data import Data
from anysize.core.data.records import Table
from anysize.core.sides import Side, Sides, sides_of_columns


class Row(NamedTuple):
    """Texts that belong together, their score if there is one, and the side of the first."""

    texts: list[str]
    score: float | None
    side: Side | None


@dataclass(frozen=True)
class Columns:
    """
    Texts in columns, row by row: a map-style data set. `scores` are one a row, where people gave them.

    `sides` says for each column where in a search it stands, and `row_sides` for each of texts that stand alone.
    """

    columns: Sequence[Sequence[str]]
    what: str
    sides: Sequence[Side | None]
    scores: Sequence[float] | None = None
    row_sides: Sequence[Side | None] | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Row:
        score = None if self.scores is None else self.scores[index]
        side = self.sides[0] if self.row_sides is None else self.row_sides[index]
        return Row([column[index] for column in self.columns], score, side)


def columns_of(table: Table, sides: Sides) -> Columns:
    """The anchors, positives and any negatives of pairs, of which `sides` says how they stand; or scored pairs."""
    if "score" in table and "sentence1" in table:
        return Columns([table["sentence1"], table["sentence2"]], table.what, (None, None), table["score"])
    columns = list(table.paired.values())
    return Columns(columns, table.what, sides_of_columns(sides, len(columns)))


def training_columns(data: Data, sides: Sides = "retrieval") -> Columns | None:
    """The scored pairs, else the pairs, that are to be learnt from: none that are held out. None if there are none."""
    table = data.training_pairs() if data.scored is None else data.training_scored()
    return None if table is None else columns_of(table, sides)
