"""The evaluator ``coding``: end to end from raw text, and linking alone on the annotators' own spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from anysize.coding.reading.data import CodingData, coding_data, unknown
from anysize.coding.records.documents import Document, Span, trimmed
from anysize.coding.scoring.counts import Counts, ratio
from anysize.core.data.data import Data
from anysize.core.errors import DataError
from anysize.core.model.faces import Sized
from anysize.core.verbs.evaluator import Evaluator, Scores, Task


@runtime_checkable
class CodesDocuments(Sized, Protocol):
    """Finds mentions and gives codes."""

    names: Any
    dictionary: Any

    def code(self, texts: Sequence[str], *, top: int = 1, places: Any = None) -> Any:
        """What it finds in each text."""

    def detect(self, texts: Sequence[str], *, progress: bool = False) -> Any:
        """Where mentions stand."""

    def link(self, mentions: Sequence[str], top: int = 5) -> Any:
        """The best codes of each mention."""


@dataclass
class _On:
    documents: list[Document]
    places: dict[int, Any]


@dataclass
class CodingEvaluator(Evaluator):
    """
    Micro F1 of the documents' codes, of spans and of spans with codes, and how good linking is on the gold spans.

    Every figure has documents as its units; ratios come as pseudo-values. A code that the dictionary lacks stays in the
    scores, where nothing can find it.
    """

    face: ClassVar[type] = CodesDocuments
    needs: ClassVar[str] = "documents with coded spans"

    def accepts(self, data: Data) -> bool:
        """Whether there are documents with codes."""
        try:
            return any(one.codes for one in coding_data(data).documents)
        except DataError:
            return False

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """The test documents, or those that training left out."""
        read: CodingData = coding_data(data)
        documents = read.to_measure(held_out)
        if not any(one.codes for one in documents):
            raise DataError(f"{data.name} has no coded document to measure on")
        spans = sum(len(one.spans) for one in documents)
        said = f"coding {len(documents)} documents with {spans} spans"
        return Task(said, "code F1", "documents", _On(documents, {}), notes=())

    def score(self, view: Any, task: Task) -> Scores:
        """All figures of a view."""
        on: _On = task.on
        texts = [one.text for one in on.documents]
        key = id(view.detector)
        if key not in on.places:  # every size finds the same mentions
            on.places[key] = view.detect(texts)
        coded = view.code(texts, places=on.places[key])
        units = end_to_end(on.documents, [one.spans for one in coded], [dict(one.codes) for one in coded])
        strangers = unknown(on.documents, view.dictionary)
        if strangers and not any("lacks" in note for note in task.notes):
            task.notes = (
                *task.notes,
                f"the coder's dictionary lacks {len(strangers)} of the codes, which are scored as missed",
            )
        units |= linking(on.documents, view)
        mention = next(span.mention for one in on.documents for span in one.spans)
        return Scores(units, run=partial(view.link, [mention]))


def end_to_end(
    documents: Sequence[Document], spans: Sequence[Sequence[Span]], codes: Sequence[dict[str, float]]
) -> dict[str, np.ndarray]:
    """
    Figures of spans and of codes that were found, by name, a value for each document.

    ``code F1`` is of the documents' codes, more or fewer than one a mention; ``code F1 of spans`` of one a mention.
    """
    gold = [one.spans for one in documents]
    found = Counts.of(gold, spans)
    sets = Counts.of(gold, [[Span(0, 0, "", code) for code in one] for one in codes])
    close = [
        [Span(*trimmed(document.text, span.start, span.end), "", span.code) for span in document.spans]
        for document in documents
    ]
    three = Counts.of(
        [[Span(0, 0, "", code[:3]) for code in one.codes] for one in documents],
        [[Span(0, 0, "", code[:3]) for code in one] for one in codes],
    )
    return {
        "code F1": sets.f1("Code assignment"),
        "code F1 of spans": found.f1("Code assignment"),
        "NER F1": found.f1("NER"),
        "NER F1 trimmed": Counts.of(close, spans).f1("NER"),
        "NER+link F1": found.f1("NER+Linking"),
        "exact code set": sets.exact("Code assignment"),
        "3-character code F1": three.f1("Code assignment"),
    }


def linking(documents: Sequence[Document], view: Any) -> dict[str, np.ndarray]:
    """Accuracy among the first 1, 5 and 15 on gold spans, by 3 characters, and of codes seen in training and not."""
    coded = [[span for span in one.spans if span.code is not None] for one in documents]
    mentions = sorted({span.mention for one in coded for span in one})
    ranked = dict(zip(mentions, view.link(mentions, 15), strict=True))
    seen = {view.names.codes[code] for one in view.names.entries[view.names.rows :] for code in one}
    counted: dict[str, np.ndarray] = {}

    def add(name: str, right: Any, which: Any = lambda span: True) -> None:
        chosen = [[span for span in one if which(span)] for one in coded]
        hits = np.array([sum(right(span) for span in one) for one in chosen])
        if any(chosen):
            counted[name] = ratio(hits, np.array([len(one) for one in chosen]))

    def first(span: Span, count: int = 1) -> list[str]:
        return [code for code, _ in ranked[span.mention][:count]]

    for count in (1, 5, 15):
        add(f"accuracy@{count}", lambda span, count=count: span.code in first(span, count))
    add("3-character accuracy", lambda span: span.code[:3] in [code[:3] for code in first(span)])
    add("accuracy@1 of seen codes", lambda span: span.code in first(span), lambda span: span.code in seen)
    add("accuracy@1 of unseen codes", lambda span: span.code in first(span), lambda span: span.code not in seen)
    return counted
