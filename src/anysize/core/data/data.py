"""What data is, once it is read: items to embed, pairs to learn from, judgements to measure by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from anysize.core.data.held_out import held_out as kept_back
from anysize.core.data.identical import Rule, themselves
from anysize.core.data.records import Items, Judgements, Pairs, Retrieval, ScoredPairs
from anysize.core.errors import DataError


@dataclass(frozen=True)
class Data:
    """One data set, whatever file it came from. A part that the source lacks is None or empty."""

    name: str
    fingerprint: str
    """SHA-256 of the content that was read: equal content gives an equal fingerprint in any file format."""
    corpus: Items | None = None
    queries: Items | None = None
    qrels: dict[str, Judgements] = field(default_factory=dict)
    """Split (train, dev, test) -> judgements."""
    pairs: Pairs | None = None
    scored: ScoredPairs | None = None
    labels: list[str | int] | None = None
    """One label per item of `corpus`."""
    notes: tuple[str, ...] = ()
    """What a reader should know, for example how many judgements named unknown documents."""
    identical: Rule = "drop"
    """What becomes of a document that is the query itself, when a ranking is scored (`anysize.core.data.identical`)."""

    def items(self) -> Items:
        """Everything that can be embedded without labels: the corpus, or all distinct texts of the pairs."""
        if self.corpus is not None:
            return self.corpus
        if self.pairs is not None:
            columns = self.pairs.columns
        elif self.scored is not None:
            columns = [self.scored.first, self.scored.second]
        else:
            raise DataError(f"{self.name} holds nothing to embed")
        texts = list(dict.fromkeys(text for column in columns for text in column))
        return Items([str(index) for index in range(len(texts))], texts=texts, numbered=True)

    @property
    def texts(self) -> list[str]:
        """The texts of `items()`. Raises `DataError` if this data is vectors."""
        texts = self.items().texts
        if texts is None:
            raise DataError(f"{self.name} holds vectors, not texts")
        return texts

    def training_pairs(self) -> Pairs | None:
        """
        Pairs to learn from, or None if there are none.

        From a file of pairs: the pairs whose anchors are not held out. From judgements: (query, document) for every
        relevant one of the train split, leaving out documents and queries that are absent or without text.
        Raises `DataError` if a file of pairs has one distinct anchor, since then nothing is left to hold out.
        """
        if self.pairs is not None:
            held = self._held_out
            return self.pairs.take([row for row, anchor in enumerate(self.pairs.anchors) if anchor not in held])
        task = self.retrieval("train")
        if task is None or task.queries.texts is None or task.corpus.texts is None:
            return None
        texts = dict(zip(task.corpus.ids, task.corpus.texts, strict=True))
        anchors, positives = [], []
        for query, anchor in zip(task.queries.ids, task.queries.texts, strict=True):
            for document in task.qrels[query]:
                if anchor.strip() and texts.get(document, "").strip():
                    anchors.append(anchor)
                    positives.append(texts[document])
        return Pairs(anchors, positives) if anchors else None

    def training_scored(self) -> ScoredPairs | None:
        """
        Scored pairs to learn from, or None if there are none: those whose first text is not held out.

        Raises `DataError` if there is one distinct first text, since then nothing is left to hold out.
        """
        if self.scored is None:
            return None
        held = self._held_out_scored
        return self.scored.take([row for row, text in enumerate(self.scored.first) if text not in held])

    def similarity(self, *, held_out: bool = False) -> ScoredPairs | None:
        """
        The scored pairs to measure by, or None if there are none.

        `held_out=True` keeps those that `training_scored` leaves out: the tenth of the distinct first texts that a
        hash of the text chooses, so the same ones however the file is ordered.
        """
        if self.scored is None or not held_out:
            return self.scored
        held = self._held_out_scored
        return self.scored.take([row for row, text in enumerate(self.scored.first) if text in held])

    def retrieval(self, split: str = "test", *, held_out: bool = False) -> Retrieval | None:
        """
        The retrieval task that this data sets, or None if it sets none.

        From judgements: those of `split`, as trec_eval counts them: every judged query that is there, also one without
        a relevant document; a relevant document that is absent still belongs to the best order there is. From a file of
        pairs: anchors are the queries and all distinct positives the corpus; `held_out=True` keeps the tenth of the
        anchors that `training_pairs` leaves out, chosen by a hash of the anchor's text, so the same anchors are held
        out however the file is ordered.
        """
        if self.pairs is not None:
            return self._task(*_judged_pairs(self.pairs, self._held_out if held_out else None))
        if self.queries is None or self.corpus is None or split not in self.qrels:
            return None
        judged = self.qrels[split]
        kept = [row for row, query in enumerate(self.queries.ids) if query in judged]
        queries = self.queries.take(kept)
        relevant = {
            query: {document: gain for document, gain in judged[query].items() if gain > 0} for query in queries.ids
        }
        return self._task(queries, self.corpus, relevant) if any(relevant.values()) else None

    def _task(self, queries: Items, corpus: Items, relevant: Judgements) -> Retrieval:
        return Retrieval(queries, corpus, relevant, themselves(self.identical, queries, corpus, relevant))

    @property
    def is_judged(self) -> bool:
        """Whether it says which documents answer which queries, in pairs or in judgements to measure by."""
        return self.pairs is not None or any(split in self.qrels for split in ("test", "dev"))

    def judged(self, *, held_out: bool = False) -> Retrieval:
        """
        The retrieval task to measure by: that of the pairs, or of the judgements of test, else of dev.

        Raises `DataError` if no judgement calls a document relevant.
        """
        split = "test" if self.pairs is not None or "test" in self.qrels else "dev"
        task = self.retrieval(split, held_out=held_out)
        if task is None:
            raise DataError(
                f"no judgement of {self.name}'s {split} split calls a document relevant; expected a score above 0"
            )
        return task

    @cached_property
    def _held_out(self) -> frozenset[str]:
        assert self.pairs is not None
        return kept_back(self.pairs.anchors, self.name, "anchor")

    @cached_property
    def _held_out_scored(self) -> frozenset[str]:
        assert self.scored is not None
        return kept_back(self.scored.first, self.name, "sentence1")


def _judged_pairs(pairs: Pairs, kept: Iterable[str] | None) -> tuple[Items, Items, Judgements]:
    positives = {text: f"d{row}" for row, text in enumerate(dict.fromkeys(pairs.positives))}
    wanted = None if kept is None else set(kept)
    queries: dict[str, str] = {}
    qrels: Judgements = {}
    for anchor, positive in zip(pairs.anchors, pairs.positives, strict=True):
        if wanted is None or anchor in wanted:
            name = queries.setdefault(anchor, f"q{len(queries)}")
            qrels.setdefault(name, {})[positives[positive]] = 1.0
    corpus = Items(list(positives.values()), texts=list(positives))
    return Items(list(queries.values()), texts=list(queries)), corpus, qrels
