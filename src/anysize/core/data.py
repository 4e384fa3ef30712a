"""What data is, once it is read: items to embed, pairs to learn from, judgements to measure by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from anysize.core.errors import DataError
from anysize.core.held_out import held_out as kept_back

T = TypeVar("T")

Judgements = dict[str, dict[str, float]]
"""Query id -> document id -> gain."""


@dataclass(frozen=True)
class Items:
    """
    Things to embed, or their vectors: exactly one of `texts` and `vectors` is there.

    Raises `DataError` if both or neither are, or if the counts differ.
    """

    ids: list[str]
    texts: list[str] | None = None
    vectors: np.ndarray | None = None
    """(n, d) float32; may be a memory map."""
    numbered: bool = False
    """Whether the ids are numbers that reading gave, because the source has none."""

    def __post_init__(self) -> None:
        if (self.texts is None) == (self.vectors is None):
            raise DataError("items hold either texts or vectors; give exactly one of the two")
        held = self.texts if self.texts is not None else self.vectors
        assert held is not None
        if len(self.ids) != len(held):
            raise DataError(f"{len(self.ids)} ids for {len(held)} items; give one id per item")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int] | np.ndarray) -> Items:
        """The items at these positions, in that order."""
        ids = [self.ids[index] for index in indices]
        if self.texts is not None:
            return Items(ids, texts=[self.texts[index] for index in indices])
        assert self.vectors is not None
        return Items(ids, vectors=np.ascontiguousarray(self.vectors[np.asarray(indices, dtype=np.intp)]))


@dataclass(frozen=True)
class Pairs:
    """
    Texts that belong together, row by row, and optionally one that does not belong.

    Raises `DataError` if the columns differ in length.
    """

    anchors: list[str]
    positives: list[str]
    negatives: list[str] | None = None

    def __post_init__(self) -> None:
        for column in (self.positives, self.negatives):
            if column is not None and len(column) != len(self.anchors):
                raise DataError(f"{len(self.anchors)} anchors beside {len(column)} partners; give one per anchor")

    def __len__(self) -> int:
        return len(self.anchors)

    def take(self, indices: Sequence[int] | np.ndarray) -> Pairs:
        """The pairs at these positions, in that order."""
        negatives = None if self.negatives is None else _at(self.negatives, indices)
        return Pairs(_at(self.anchors, indices), _at(self.positives, indices), negatives)


@dataclass(frozen=True)
class ScoredPairs:
    """
    Texts beside each other and how alike people called them, row by row, on any scale (higher is more alike).

    Raises `DataError` if the columns differ in length, or a score is not a finite number.
    """

    first: list[str]
    second: list[str]
    scores: list[float]

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.scores):
            raise DataError(
                f"{len(self.first)} first texts, {len(self.second)} second texts and {len(self.scores)} scores; "
                "give as many of each"
            )
        for row, score in enumerate(self.scores):
            if not math.isfinite(score):
                raise DataError(f"row {row} (from 0) has the score {score}; expected a finite number")

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: Sequence[int] | np.ndarray) -> ScoredPairs:
        """The pairs at these positions, in that order."""
        return ScoredPairs(_at(self.first, indices), _at(self.second, indices), _at(self.scores, indices))


@dataclass(frozen=True)
class Retrieval:
    """A retrieval task: queries, the documents to search, and which documents answer which query."""

    queries: Items
    """Only queries that have at least one relevant document."""
    corpus: Items
    qrels: Judgements
    """Query id -> document id -> gain above zero."""


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

    def items(self) -> Items:
        """Everything that can be embedded without labels: the corpus, or all distinct texts of the pairs."""
        if self.corpus is not None:
            return self.corpus
        if self.pairs is not None:
            columns = (self.pairs.anchors, self.pairs.positives, self.pairs.negatives or [])
        elif self.scored is not None:
            columns = (self.scored.first, self.scored.second, [])
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
        relevant one of the train split, leaving out documents and queries without text.
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
                if anchor.strip() and texts[document].strip():
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

        From judgements: those of `split`. From a file of pairs: anchors are the queries and all distinct positives
        the corpus; `held_out=True` keeps the tenth of the anchors that `training_pairs` leaves out, chosen by a hash
        of the anchor's text, so the same anchors are held out however the file is ordered.
        """
        if self.pairs is not None:
            return _retrieval_from_pairs(self.pairs, self._held_out if held_out else None)
        if self.queries is None or self.corpus is None or split not in self.qrels:
            return None
        relevant = {
            query: {document: gain for document, gain in found.items() if gain > 0}
            for query, found in self.qrels[split].items()
        }
        kept = [row for row, query in enumerate(self.queries.ids) if relevant.get(query)]
        queries = self.queries.take(kept)
        return Retrieval(queries, self.corpus, {query: relevant[query] for query in queries.ids}) if kept else None

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


def read(source: str | Path | Data) -> Data:
    """
    Read data from a file, a folder in BEIR layout, or the name of a `datasets` data set.

    Files: jsonl, csv, tsv or parquet (also ``.jsonl.gz`` and the like) with columns ``anchor, positive[, negative]``,
    ``sentence1, sentence2, score`` or ``text[, title][, id][, label]``; npy, safetensors or parquet with vectors, or
    a folder of npy files, mapped as one table. A name may carry a configuration and a split, ``name:config:split``; the
    split is train unless given. ``none`` is no data, for a method that can do without. Raises `DataError`, naming file
    and line.
    """
    from anysize.core.reading import read_source

    if source == "none":
        return Data("none", "none")
    return source if isinstance(source, Data) else read_source(source)


def _retrieval_from_pairs(pairs: Pairs, kept: Iterable[str] | None) -> Retrieval:
    positives = {text: f"d{row}" for row, text in enumerate(dict.fromkeys(pairs.positives))}
    wanted = None if kept is None else set(kept)
    queries: dict[str, str] = {}
    qrels: Judgements = {}
    for anchor, positive in zip(pairs.anchors, pairs.positives, strict=True):
        if wanted is None or anchor in wanted:
            name = queries.setdefault(anchor, f"q{len(queries)}")
            qrels.setdefault(name, {})[positives[positive]] = 1.0
    corpus = Items(list(positives.values()), texts=list(positives))
    return Retrieval(Items(list(queries.values()), texts=list(queries)), corpus, qrels)


def _at(column: Sequence[T], indices: Sequence[int] | np.ndarray) -> list[T]:
    return [column[index] for index in indices]
