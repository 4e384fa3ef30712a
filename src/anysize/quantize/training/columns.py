"""
What a quantised sentence encoder learns from: labelled texts, or the vectors of the float model it is made from.

Every loss here is over unit vectors of one size, so it holds for any model whose outputs are those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from anysize.core.errors import DataError
from anysize.core.sides import Side, Sides, side_of_texts, sides_of_columns

if TYPE_CHECKING:
    from anysize.core.data.data import Data


class Row(NamedTuple):
    """Texts that belong together, their score if there is one, and the side of the first."""

    texts: list[str]
    label: float | None
    side: Side | None


@dataclass(frozen=True)
class Columns:
    """
    Texts in columns, row by row: a map-style data set. `labels` are scores, one a row, where people gave them.

    `sides` says for each column where in a search it stands, and `row_sides` for each of texts that stand alone.
    """

    columns: Sequence[Sequence[str]]
    labels: Sequence[float] | None
    what: str
    sides: Sequence[Side | None]
    row_sides: Sequence[Side | None] | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Row:
        label = None if self.labels is None else self.labels[index]
        side = self.sides[0] if self.row_sides is None else self.row_sides[index]
        return Row([column[index] for column in self.columns], label, side)


def columns(data: Data, learn_from: str, sides: Sides = "retrieval") -> Columns:
    """
    What `data` offers: scored pairs, pairs or triplets with ``labels``; its texts with ``embeddings``.

    `sides` says how pairs stand, and their texts one by one; other texts are documents, scored pairs stand on no side.
    ``auto`` takes labels where there are some. What is held out for measuring is left out. Raises `DataError` if labels
    are asked for and there are none, or there is no text at all.
    """
    found: Columns | None = None
    if data.scored is not None:
        scored = data.training_scored()
        assert scored is not None
        found = Columns([scored.first, scored.second], scored.scores, "scored pairs", (None, None))
    else:
        pairs = data.training_pairs()
        if pairs is not None:
            found = Columns(pairs.columns, None, pairs.kind, sides_of_columns(sides, len(pairs.columns)))
    if found is None and learn_from == "labels":
        raise DataError(f"{data.name} has no labels to learn from; expected pairs, scored pairs or judgements")
    if found is not None and learn_from != "embeddings":
        return found
    alone = side_of_texts(sides)
    if found is None:
        every = [(alone, text) for text in data.texts]
    else:
        every = [(side, text) for side, column in zip(found.sides, found.columns, strict=True) for text in column]
    distinct = [(side, text) for side, text in dict.fromkeys(every) if text.strip()]
    if not distinct:
        raise DataError(f"{data.name} holds no text to learn from")
    return Columns([[text for _, text in distinct]], None, "texts", (alone,), [side for side, _ in distinct])


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """A batch: texts by column, the scores, and the side of each text of the first column."""
    labels = [row.label for row in rows if row.label is not None]
    listed = [list(column) for column in zip(*(row.texts for row in rows), strict=True)]
    return {
        "columns": listed,
        "scores": torch.tensor(labels) if labels else None,
        "first": [row.side for row in rows],
    }


def apart(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cosine over rows of unit vectors; the teacher has no gradient."""
    return (1 - (student * teacher.detach()).sum(-1)).mean()
