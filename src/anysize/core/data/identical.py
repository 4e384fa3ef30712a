"""
A query that is itself a document: whether its ranking may hold it.

Where documents ask for documents (duplicate questions, counter-arguments, paraphrases), every query would find itself
first. BEIR's evaluation leaves out every document whose id is the query's (``ignore_identical_ids``), which also hits
unrelated ones where queries and documents are numbered alike; trec_eval leaves out nothing.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from anysize.core.data.records import Items, Judgements, Retrieval
from anysize.core.errors import AnysizeError

Rule = Literal["drop", "ids", "keep"]
"""
drop: leave out documents that are the query (the same text; or the same id and a text that ends with the query's, as a
title before it makes one; of vectors the same id and values), unless they are judged relevant to it.
ids: leave out documents of the query's id, as BEIR does. keep: leave out none, as trec_eval does.
"""


def themselves(rule: Rule, queries: Items, corpus: Items, relevant: Judgements) -> dict[str, frozenset[str]]:
    """Query id -> ids of the documents that are that query, under a rule. Raises `AnysizeError` for no rule."""
    if rule not in get_args(Rule):
        raise AnysizeError(f"{rule!r} is no rule for queries that are documents; use drop, ids or keep")
    if rule == "keep":
        return {}
    place = {name: row for row, name in enumerate(corpus.ids)}
    if rule == "ids":
        return {query: frozenset([query]) for query in queries.ids if query in place}
    of_text: dict[str, list[str]] = {}
    for name, text in zip(corpus.ids, corpus.texts or [], strict=False):
        of_text.setdefault(text.strip(), []).append(name)
    found = {}
    for row, query in enumerate(queries.ids):
        same = set(of_text.get(queries.texts[row].strip(), ())) if queries.texts is not None else set()
        if query in place and _is_same(queries, row, corpus, place[query]):
            same.add(query)
        same -= relevant[query].keys()
        if same:
            found[query] = frozenset(same)
    return found


def _is_same(queries: Items, row: int, corpus: Items, document: int) -> bool:
    if queries.texts is not None and corpus.texts is not None:
        text = queries.texts[row].strip()
        return bool(text) and corpus.texts[document].strip().endswith(text)
    if queries.vectors is not None and corpus.vectors is not None:
        return np.array_equal(queries.vectors[row], corpus.vectors[document])
    return False


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
