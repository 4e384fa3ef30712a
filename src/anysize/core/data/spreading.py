"""Rows with several positives or negatives in one cell, as FlagEmbedding writes them, as plain columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anysize.core.data.records import Table


def spread(columns: Mapping[str, list[Any]]) -> tuple[Table, tuple[str, ...]]:
    """
    Pairs from an anchor, a positive and any negative columns whose cells are texts or lists of texts; and notes.

    A row becomes one for each of its positives, with the same negatives. A loss over columns wants as many negatives in
    each row, so the first are taken of those that have more than the fewest.
    """
    anchors, positives, *others = columns.values()
    every = [[text for column in others for text in _listed(column[row])] for row in range(len(anchors))]
    fewest = min(map(len, every)) if others else 0
    rows = [(row, text) for row in range(len(anchors)) for text in _listed(positives[row])]
    spread_out: dict[str, Sequence[Any]] = {
        "anchor": [anchors[row] for row, _ in rows],
        "positive": [text for _, text in rows],
    }
    for place in range(fewest):
        spread_out["negative" if place == 0 else f"negative_{place + 1}"] = [every[row][place] for row, _ in rows]
    notes = []
    if len(rows) > len(anchors):
        notes.append(f"{len(anchors)} rows hold {len(rows)} positives; each makes a pair")
    total = sum(map(len, every))
    if total > fewest * len(anchors):
        notes.append(
            f"{total - fewest * len(anchors)} of {total} negatives are not used: rows have from {fewest} to "
            f"{max(map(len, every))}, and the first {fewest} of each are taken"
        )
    return Table(spread_out), tuple(notes)


def _listed(cell: Any) -> list[str]:
    return cell if isinstance(cell, list) else [cell]
