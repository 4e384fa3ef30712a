"""
A query that is itself a document: whether its ranking may hold it.

Where documents ask for documents (duplicate questions, counter-arguments, paraphrases), every query would find itself
first. BEIR's evaluation leaves out every document whose id is the query's (``ignore_identical_ids``), which also hits
unrelated ones where queries and documents are numbered alike; trec_eval leaves out nothing.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from anysize.core.data.records import Items, Judgements
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
