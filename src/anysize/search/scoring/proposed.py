"""Candidates that a segment's codes or graph propose, for the true vectors to rescore."""

from __future__ import annotations

import numpy as np

from anysize.search.store.segment import Segment


def propose(segment: Segment, name: str, queries: np.ndarray, keep: int) -> tuple[list[np.ndarray | None], int]:
    """
    The best `keep` rows that are left, by the scanner `name` ("codes-64", "hnsw-64"), and the bytes touched a query.

    `queries` is float32 (queries, dims), of unit length. Rows int64, best first, a query; None where the scanner does
    not come up with as many as there are, so that a caller scans instead of losing some.
    """
    scanner = segment.scanner(name)
    if scanner is None or not len(queries):
        return [None] * len(queries), 0
    wanted = min(keep, segment.rows - len(segment.deleted))
    # Rows deleted since the codes were made still come up, so more are asked for, up to where a scan is as cheap.
    asked, most = min(segment.rows, keep + min(len(segment.deleted), keep)), max(keep, segment.rows // 4)
    touched = 0
    while True:
        rows, looked = scanner.candidates(queries, asked)
        touched += looked
        found = [one[~segment.dead(one)][:wanted] for one in (row[row >= 0] for row in rows)]
        if asked >= most or not len(segment.deleted) or all(len(one) >= wanted for one in found):
            break
        asked = min(4 * asked, most)
    return [one if len(one) >= wanted else None for one in found], touched
