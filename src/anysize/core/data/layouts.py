"""
Which column is what: our own names, and those that common data sets use for the same thing.

sentence-transformers writes anchor, positive, negative (or negative_1, negative_2, ...); MS MARCO and FlagEmbedding
query, pos, neg, passage; question answering question, answer; the STS tasks sentence1, sentence2, score.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anysize.core.data.files.rows import Row, short_list
from anysize.core.errors import DataError

ANCHORS = ("anchor", "query", "question", "q", "anchor_text", "query_text")
POSITIVES = (
    "positive", "pos", "passage", "document", "answer", "doc", "response", "positive_passage", "context", "pos_text",
    "positive_text", "passage_text",
)  # fmt: skip
NEGATIVES = ("negative", "neg", "negatives", "hard_negative", "hard_negatives", "negative_passage", "negative_text")
SIDES = (
    ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("sentence_a", "sentence_b"), ("text1", "text2"),
    ("text_1", "text_2"), ("text_a", "text_b"), ("question1", "question2"), ("s1", "s2"),
)  # fmt: skip
SCORES = ("score", "similarity_score", "similarity", "label", "relatedness_score", "is_duplicate")
TEXTS = ("text", "sentence", "content", "document", "passage", "body", "contents", "doc")
LABELS = ("label", "category", "class", "intent", "label_text", "code")
IDS = ("_id", "id", "docid", "doc_id", "pid", "document_id")
VECTORS = ("vectors", "vector", "embeddings", "embedding")
EXPECTED = (
    "anchor, positive[, negative] for pairs, sentence1, sentence2, score for scored pairs, "
    "text[, title][, _id][, label] for texts"
)
_NUMBERED = re.compile(r"(negative|neg|hard_negative)_?(\d+)")


@dataclass(frozen=True)
class Layout:
    """What the rows of a table hold."""

    kind: str
    """``pairs``, ``scored``, ``texts`` or ``vectors``."""
    columns: dict[str, str]
    """Our name -> the column's. Negatives are ``negative``, ``negative_2``, ... in order."""
    notes: tuple[str, ...] = ()

    @property
    def called(self) -> dict[str, str]:
        """The column -> our name, of those that belong together and have a name of their own."""
        return {
            theirs: ours for ours, theirs in self.columns.items() if ours != theirs and ours in ("anchor", "positive")
        }

    def rename(self, row: Row) -> Row:
        """The row under our names. A column that this row lacks is left out."""
        values = row.values
        return Row(row.where, {ours: values[theirs] for ours, theirs in self.columns.items() if theirs in values})


def layout_of(row: Row, where: str) -> Layout | None:
    """The layout that the columns of the first row say; None if they mean nothing here. `DataError` if it has none."""
    if not row.values:
        raise DataError(f"{where} has no columns; expected {EXPECTED}")
    names = {_folded(name): name for name in reversed(row.values)}
    found = _pairs(names, row.values) or _scored(names) or _sides(names) or _texts(names) or _vectors(row.values)
    if found is None:
        return None
    kind, columns = found
    notes = []
    renamed = [f"{theirs} as {ours}" for ours, theirs in columns.items() if ours != theirs]
    if renamed:
        notes.append(f"read the columns {short_list(renamed)}")
    used = set(columns.values())
    unread = [name for name in row.values if name not in used]
    if unread:
        notes.append(f"the columns {short_list(unread)} are not read")
    return Layout(kind, columns, tuple(notes))


Found = tuple[str, dict[str, str]]


def _pairs(names: dict[str, str], values: dict[str, Any]) -> Found | None:
    anchor, positive = first_of(names, ANCHORS), first_of(names, POSITIVES)
    if anchor is None or positive is None:
        return None
    negatives = [names[name] for name in NEGATIVES if name in names]
    numbered = [(int(found[2]), names[name]) for name in names if (found := _NUMBERED.fullmatch(name))]
    negatives += [name for _, name in sorted(numbered)]
    if not negatives and (score := first_of(names, SCORES)) is not None and _is_number(values[score]):
        # Rows that say how well the two go together, also that they do not: not pairs to pull together.
        return "scored", {"sentence1": anchor, "sentence2": positive, "score": score}
    columns = {"anchor": anchor, "positive": positive}
    for place, name in enumerate(negatives, start=1):
        columns["negative" if place == 1 else f"negative_{place}"] = name
    return "pairs", columns


def _scored(names: dict[str, str]) -> Found | None:
    score = first_of(names, SCORES)
    for first, second in SIDES:
        if first in names and second in names and score is not None:
            return "scored", {"sentence1": names[first], "sentence2": names[second], "score": score}
    return None


def _sides(names: dict[str, str]) -> Found | None:
    for first, second in SIDES:
        if first in names and second in names:
            return "pairs", {"anchor": names[first], "positive": names[second]}
    return None


def _texts(names: dict[str, str]) -> Found | None:
    text = first_of(names, TEXTS)
    if text is None or "spans" in names:  # places in the text, which mean nothing without it
        return None
    more = {"title": ("title",), "_id": IDS, "label": LABELS}
    known = {ours: first_of(names, theirs) for ours, theirs in more.items()}
    return "texts", {"text": text, **{ours: name for ours, name in known.items() if name is not None}}


def _vectors(values: dict[str, Any]) -> Found | None:
    names = {_folded(name): name for name, value in values.items() if isinstance(value, list | np.ndarray)}
    vector = first_of(names, VECTORS)
    if vector is None:
        return None
    every = {_folded(one): one for one in values}
    known = {"vector": vector, "_id": first_of(every, IDS), "label": first_of(every, LABELS)}
    return "vectors", {ours: name for ours, name in known.items() if name is not None}


def first_of(names: dict[str, str], wanted: tuple[str, ...]) -> str | None:
    """The column of the first name that is wanted and there; `names` are the columns by their folded names."""
    return next((names[name] for name in wanted if name in names), None)


def _folded(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return isinstance(value, bool)
    try:
        float(value)
    except ValueError:
        return False
    return True


def misnamed(names: Iterable[str]) -> str:
    """What columns that nearly have a known name were perhaps to be called, as a question; nothing if none has."""
    known = [*ANCHORS, *POSITIVES, *NEGATIVES, *TEXTS, *VECTORS, *(name for pair in SIDES for name in pair), *SCORES]
    near = []
    for name in itertools.islice(names, 1000):
        match = difflib.get_close_matches(_folded(name)[:100], known, n=1, cutoff=0.75)
        if match and _folded(name) not in known:
            near.append(f"{match[0]} for {name}")
    return f"did you mean {short_list(near)}?" if near else ""
