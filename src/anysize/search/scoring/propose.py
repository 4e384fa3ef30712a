"""Candidates that a segment's codes or graph propose, for the true vectors to rescore."""

from __future__ import annotations

import numpy as np

from anysize.search.scoring.proposed import Proposed
from anysize.search.store.segment import Segment


def propose(segment: Segment, name: str, queries: np.ndarray, keep: int) -> tuple[list[Proposed | None], int]:
    """
    The best `keep` rows that are left, by the scanner `name` ("codes-64", "hnsw-64"), and the bytes touched a query.

    `queries` is float32 (queries, dims), of unit length. The scanner may come up with fewer; None where there is none.
    """
    scanner = segment.scanner(name)
    if scanner is None or not len(queries):
        return [None] * len(queries), 0
    alive = segment.rows - len(segment.deleted)
    wanted = min(keep + 1, alive)  # one more, which tells whether the last one's score is another
    # Rows deleted since the codes were made still come up, so more are asked for, up to where a scan is as cheap.
    asked, most = min(segment.rows, wanted + min(len(segment.deleted), keep)), max(wanted, segment.rows // 4)
    touched = 0
    while True:
        rows, scores, looked = scanner.candidates(queries, asked)
        touched += looked
        left = [(row >= 0) & ~segment.dead(row) for row in rows]
        if asked >= most or not len(segment.deleted) or all(one.sum() >= wanted for one in left):
            break
        asked = min(4 * asked, most)
    found: list[Proposed | None] = [
        Proposed.scored(row[one][:wanted], score[one][:wanted], complete=one.sum() == alive)
        for row, score, one in zip(rows, scores, left, strict=True)
    ]
    return found, touched
