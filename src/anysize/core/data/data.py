"""What data is, once it is read: items to embed, a table to learn from, judgements to measure by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

from anysize.core.arguments import shown
from anysize.core.data.files.rows import short_list
from anysize.core.data.held_out import key_of
from anysize.core.data.identical import Rule, themselves
from anysize.core.data.layouts import EXPECTED, misnamed
from anysize.core.data.records import Items, Judgements, Retrieval, Table
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
    table: Table | None = None
    """Rows of named columns: pairs, scored pairs, or whatever else belongs together."""
    labels: list[str | int] | None = None
    """One label per item of `corpus`."""
    notes: tuple[str, ...] = ()
    """What a reader should know, for example how many judgements named unknown documents."""
    identical: Rule = "drop"
    """What becomes of a document that is the query itself, when a ranking is scored (`anysize.core.data.identical`)."""

    @property
    def pairs(self) -> Table | None:
        """The table, if it holds pairs: the columns anchor and positive, and perhaps negatives."""
        return self.table if self.table is not None and "anchor" in self.table and "positive" in self.table else None

    @cached_property
    def scored(self) -> Table | None:
        """
        The table, if it holds scored pairs: the columns sentence1, sentence2 and score, on any scale.

        Raises `DataError` if a score is not a finite number.
        """
        table = self.table
        if table is None or not all(name in table for name in ("sentence1", "sentence2", "score")):
            return None
        for row, score in enumerate(table["score"]):
            if not isinstance(score, Real) or not math.isfinite(score):
                raise DataError(f"row {row} (from 0) has the score {shown(score)}; expected a finite number")
        return table

    @property
    def holds(self) -> str:
        """What it is, in a few words: ``3000 pairs``, ``20 texts``, ``20 vectors of 384 dims``, ``12 images``."""
        if self.table is not None and self.corpus is None:
            return f"{len(self.table)} {self.table.what}"
        return "nothing" if self.corpus is None else self.corpus.holds

    def __repr__(self) -> str:
        return f"Data({self.name!r}: {self.holds})"

    def items(self) -> Items:
        """
        Everything that can be embedded without labels: the corpus, or all that differs in the columns of one kind.

        Of a table these are the texts of its pairs, else its files or its parts, else a column text.
        """
        if self.corpus is not None:
            return self.corpus
        if self.table is None:
            raise DataError(f"{self.name} holds nothing to embed")
        if self.pairs is not None or self.scored is not None:
            names = [name for name in self.table.columns if name != "score"]
        else:
            names = list(self.table.kinds) or (["text"] if "text" in self.table else [])
        kinds = {self.table.kinds.get(name, "text") for name in names}
        if len(kinds) != 1:
            hint = misnamed(self.table.columns) or "rename them"
            raise DataError(
                f"{self.name} has the columns {short_list(self.table.columns)}; expected {EXPECTED}; {hint}"
            )
        cells = {key_of(cell): cell for name in names for cell in self.table[name]}
        return Items([str(index) for index in range(len(cells))], list(cells.values()), kinds.pop(), numbered=True)

    @property
    def texts(self) -> list[str]:
        """The texts of `items()`. Raises `DataError` if this data is vectors."""
        items = self.items()
        texts = items.texts
        if texts is None:
            raise DataError(f"{self.name} holds {items.holds}, not texts")
        return texts

    def training_pairs(self) -> Table | None:
        """
        Pairs to learn from, or None if there are none.

        From a file of pairs: the pairs whose anchors are not held out. From judgements: (query, document) for every
        relevant one of the train split, leaving out documents and queries that are absent or without text.
        Raises `DataError` if a file of pairs has one distinct anchor, since then nothing is left to hold out.
        """
        if self.pairs is not None:
            return self._split[0]
        task = self.retrieval("train")
        if task is None or "vector" in (kinds := {"anchor": task.queries.of, "positive": task.corpus.of}).values():
            return None
        held = dict(zip(task.corpus.ids, task.corpus.rows, strict=True))
        anchors, positives = [], []
        for query, anchor in zip(task.queries.ids, task.queries.rows, strict=True):
            for document in task.qrels[query]:
                if _said(anchor) and _said(held.get(document)):
                    anchors.append(anchor)
                    positives.append(held[document])
        named = {name: kind for name, kind in kinds.items() if kind != "text"}
        return Table({"anchor": anchors, "positive": positives}, named) if anchors else None

    def training_scored(self) -> Table | None:
        """
        Scored pairs to learn from, or None if there are none: those whose first text is not held out.

        Raises `DataError` if there is one distinct first text, since then nothing is left to hold out.
        """
        return None if self.scored is None else self._split[0]

    def similarity(self, *, held_out: bool = False) -> Table | None:
        """
        The scored pairs to measure by, or None if there are none.

        `held_out=True` keeps those that `training_scored` leaves out: the tenth of the distinct first texts that a
        hash of the text chooses, so the same ones however the file is ordered.
        """
        return self.scored if self.scored is None or not held_out else self._split[1]

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
            return self._task(*_judged_pairs(self.pairs, self._split[1] if held_out else self.pairs))
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
    def _split(self) -> tuple[Table, Table]:
        """The rows of the table to learn from, and those held out."""
        assert self.table is not None
        return self.table.held_out("anchor" if self.pairs is not None else "sentence1", self.name)


def _said(cell: Any) -> bool:
    """Whether there is anything: a text that is not empty, or something else."""
    return bool(cell.strip()) if isinstance(cell, str) else cell is not None


def _judged_pairs(pairs: Table, asked: Table) -> tuple[Items, Items, Judgements]:
    """The distinct anchors of `asked` as queries, and all distinct positives as the corpus."""
    documents = {key_of(cell): cell for cell in pairs["positive"]}
    place = {key: f"d{row}" for row, key in enumerate(documents)}
    queries: dict[str, Any] = {}
    names: dict[str, str] = {}
    qrels: Judgements = {}
    for anchor, positive in zip(asked["anchor"], asked["positive"], strict=True):
        key = key_of(anchor)
        queries.setdefault(key, anchor)
        qrels.setdefault(names.setdefault(key, f"q{len(names)}"), {})[place[key_of(positive)]] = 1.0
    left, right = (pairs.kinds.get(side, "text") for side in ("anchor", "positive"))
    asking = Items(list(names.values()), list(queries.values()), left)
    return asking, Items(list(place.values()), list(documents.values()), right), qrels
