"""Rankings without the documents that are the query itself, under the rule that the data was read with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anysize.core.data.identical import Rule
    from anysize.core.data.records import Retrieval


def without_itself(task: Retrieval, ranked: np.ndarray, k: int) -> np.ndarray:
    """
    (q, k) rankings without the documents that the task leaves out, the later ones moved up; -1 is an empty place.

    `ranked` (q, more) are positions in the task's corpus, best first: at least `spare` more than k of them.
    """
    if task.left_out:
        place = {name: row for row, name in enumerate(task.corpus.ids)}
        ranked = ranked.copy()
        for row, query in enumerate(task.queries.ids):
            out = [place[name] for name in task.left_out.get(query, ()) if name in place]
            if out:
                ranked[row, np.isin(ranked[row], out)] = -1
        ranked = np.take_along_axis(ranked, np.argsort(ranked < 0, axis=1, kind="stable"), axis=1)
    return ranked[:, :k]


def spare(task: Retrieval) -> int:
    """How many places more than k a ranking needs, so that k are left of it."""
    return max(map(len, task.left_out.values()), default=0)


def say(rule: Rule, task: Retrieval) -> tuple[str, ...]:
    """The note on what was left out; none where no query is a document."""
    count = len(task.left_out)
    if not count:
        return ()
    why = {
        "drop": "are documents themselves and were left out of their own rankings, unless judged relevant; "
        "--identical keep leaves them in, --identical ids goes by the id alone, as BEIR does",
        "ids": "have the id of a document, which was left out of their rankings, as BEIR does (--identical ids)",
    }
    return (f"{count} of {len(task.queries)} queries {why[rule]}",)
