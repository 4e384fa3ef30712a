"""
What a quantised sentence encoder learns from: labelled texts, or the vectors of the float model it is made from.

Every loss here is over unit vectors of one size, so it holds for any model whose outputs are those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from anysize.core.data.columns import Columns, Row, training_columns
from anysize.core.errors import DataError
from anysize.core.sides import Sides, side_of_texts

if TYPE_CHECKING:
    from anysize.core.data.data import Data


def columns(data: Data, learn_from: str, sides: Sides = "retrieval") -> Columns:
    """
    What `data` offers: scored pairs, pairs or triplets with ``labels``; its texts with ``embeddings``.

    `sides` says how pairs stand, and their texts one by one; other texts are documents, scored pairs stand on no side.
    ``auto`` takes labels where there are some. What is held out for measuring is left out. Raises `DataError` if labels
    are asked for and there are none, or there is no text at all.
    """
    found = training_columns(data, sides)
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
    texts, row_sides = [text for _, text in distinct], [side for side, _ in distinct]
    return Columns([texts], "texts", (alone,), row_sides=row_sides)


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """A batch: texts by column, the scores, and the side of each text of the first column."""
    scores = [row.score for row in rows if row.score is not None]
    listed = [list(column) for column in zip(*(row.texts for row in rows), strict=True)]
    return {
        "columns": listed,
        "scores": torch.tensor(scores) if scores else None,
        "first": [row.side for row in rows],
    }


def apart(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean of 1 - cosine over rows of unit vectors; the teacher has no gradient."""
    return (1 - (student * teacher.detach()).sum(-1)).mean()
