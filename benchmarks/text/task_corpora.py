"""
Four tasks as jina-embeddings-v3 has them: rows to learn each from, and how well vectors do each at any width.

Retrieval: documentation strings of installed packages, or pairs of the reader's own. Text-matching: STS-B.
Classification: Banking77. Separation: TREC questions by their coarse label.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import v_measure_score

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items, Table
from anysize.evaluation.nearest import rank
from anysize.evaluation.similarity import similarity_metrics
from anysize.text.docstrings import collect

OWN = {"retrieval": "retrieval.query", "text-matching": "text-matching", "classification": "classification",
       "separation": "separation"}  # fmt: skip
"""Task -> its adapter; retrieval has another for its documents."""
METRICS = {"retrieval": "nDCG@10", "text-matching": "Spearman", "classification": "accuracy", "separation": "v-measure"}
_CLASS_EXAMPLES, _MEASURED = 10, 500

Encode = Callable[[Sequence[str], str], np.ndarray]
"""Texts and the adapter to run them through -> vectors (n, width), not normalised."""


class Corpora:
    """
    Up to `rows` rows to train each task on, `first` further pairs for the stage before, and what is measured by.

    `part` is ``dev``, to choose by, or ``test``; no row of either is learnt from.
    """

    def __init__(self, folder: Path, rows: int, part: str, first: int = 0, pairs: Table | None = None) -> None:
        documented = collect(rows + first + 800) if pairs is None else []
        asked = [item.summary for item in documented] if pairs is None else pairs["anchor"]
        answers = [item.description for item in documented] if pairs is None else pairs["positive"]
        held = min(800, len(asked) // 3)
        begin = len(asked) - held
        middle = begin + held * 3 // 8
        measured = slice(begin, middle) if part == "dev" else slice(middle, None)
        self.queries, self.answers = asked[measured], answers[measured]
        self.first = Table(
            {"anchor": asked[rows : min(rows + first, begin)], "positive": answers[rows : min(rows + first, begin)]}
        )
        learnt = Table({"anchor": asked[: min(rows, begin)], "positive": answers[: min(rows, begin)]})
        scored = _scored(folder / f"stsb/{part}.tsv")
        self.scored = scored.take(range(0, len(scored), 2))
        intents, unseen = _shuffled(_banking(folder / "banking77/train.csv")), _banking(folder / "banking77/test.csv")
        # Ten rows a class that training may see, of which the means are classified by; others are measured.
        by_class = defaultdict(list)
        for text, label in intents[:rows]:
            by_class[label].append(text)
        self.examples = [(text, label) for label, texts in by_class.items() for text in texts[:_CLASS_EXAMPLES]]
        self.intents = intents[rows : rows + _MEASURED] if part == "dev" else unseen[::4]
        questions, others = (_questions(folder / f"trec_questions/{name}.tsv") for name in ("train", "test"))
        questions = _shuffled(questions)
        self.questions = questions[rows : rows + _MEASURED] if part == "dev" else others
        stsb = _scored(folder / "stsb/train.tsv")
        self.learnt = {
            "retrieval": Data("pairs", "pairs", table=learnt),
            "text-matching": Data("stsb", "stsb", table=stsb.take(_order(len(stsb))[:rows])),
            "classification": _labelled("banking77", intents[:rows]),
            "separation": _labelled("trec_questions", questions[:rows]),
        }
        """Task -> what it learns from."""

    def scores(self, encode: Encode, adapter: str | None, dims: Sequence[int]) -> dict[str, dict[str, float]]:
        """Task -> width -> its metric, with `adapter` for every text or, if None, each task's own."""

        def run(task: str, texts: Sequence[str]) -> np.ndarray:
            return encode(texts, adapter or OWN[task])

        # The two halves of retrieval make one task.
        other = "retrieval.passage" if adapter in (None, "retrieval.query") else adapter
        queries, answers = run("retrieval", self.queries), encode(self.answers, other)
        left, right = (run("text-matching", column) for column in (self.scored["sentence1"], self.scored["sentence2"]))
        examples, intents = (run("classification", [text for text, _ in of]) for of in (self.examples, self.intents))
        questions = run("separation", [text for text, _ in self.questions])
        found: dict[str, dict[str, float]] = {task: {} for task in OWN}
        for dim in dims:
            at = str(dim)
            found["retrieval"][at] = ndcg(unit(queries, dim), unit(answers, dim))
            alike = similarity_metrics(unit(left, dim), unit(right, dim), self.scored["score"])
            found["text-matching"][at] = alike["spearman_cosine"]
            found["classification"][at] = accuracy(
                unit(examples, dim), [label for _, label in self.examples],
                unit(intents, dim), [label for _, label in self.intents],
            )  # fmt: skip
            labels = [label for _, label in self.questions]
            groups = KMeans(len(set(labels)), n_init=10, random_state=0).fit_predict(unit(questions, dim))
            found["separation"][at] = float(v_measure_score(labels, groups))
        return found

    def write(self, folder: Path) -> dict[str, Path]:
        """What is learnt, as the files that ``anysize fit --method tasks`` takes: by task, and the pairs ``first``."""
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[str, list[dict[str, object]]] = {"first": _rows_of_pairs(self.first)}
        for task, data in self.learnt.items():
            if data.pairs is not None:
                rows[task] = _rows_of_pairs(data.pairs)
            elif data.scored is not None:
                both = zip(data.scored["sentence1"], data.scored["sentence2"], data.scored["score"], strict=True)
                rows[task] = [{"sentence1": one, "sentence2": other, "score": score} for one, other, score in both]
            else:
                assert data.labels is not None
                rows[task] = [{"text": one, "label": of} for one, of in zip(data.texts, data.labels, strict=True)]
        files = {name: folder / f"{name}.jsonl" for name in rows}
        for name, file in files.items():
            file.write_text("".join(json.dumps(row) + "\n" for row in rows[name]), encoding="utf-8")
        return files


def unit(rows: np.ndarray, dims: int) -> np.ndarray:
    """The first coordinates, at unit length."""
    cut = rows[:, :dims].astype(np.float32)
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)


def ndcg(queries: np.ndarray, answers: np.ndarray) -> float:
    """nDCG@10 where row i answers query i."""
    found, _ = rank(queries, answers, k=min(10, len(answers)))
    places = [np.flatnonzero(np.asarray(row) == query) for query, row in enumerate(found)]
    return float(np.mean([1 / np.log2(2 + place[0]) if len(place) else 0.0 for place in places]))


def accuracy(examples: np.ndarray, theirs: Sequence[str], rows: np.ndarray, labels: Sequence[str]) -> float:
    """The share of rows whose nearest class mean is that of their own label."""
    classes = sorted(set(theirs))
    each = np.array([classes.index(label) for label in theirs])
    means = np.stack([examples[each == place].mean(axis=0) for place in range(len(classes))])
    nearest = (rows @ unit(means, means.shape[1]).T).argmax(axis=1)
    return float(np.mean([classes[place] == label for place, label in zip(nearest, labels, strict=True)]))


def _rows_of_pairs(pairs: Table) -> list[dict[str, object]]:
    return [{"anchor": one, "positive": other} for one, other in zip(pairs["anchor"], pairs["positive"], strict=True)]


def _scored(path: Path) -> Table:
    scored = read(path).scored
    assert scored is not None
    return scored


def _banking(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row[0], row[1]) for row in list(csv.reader(file))[1:]]


def _questions(path: Path) -> list[tuple[str, str]]:
    lines = [line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]]
    return [(text, coarse) for coarse, _, text in lines]


def _order(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(count)


def _shuffled(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [rows[row] for row in _order(len(rows))]


def _labelled(name: str, rows: Sequence[tuple[str, str]]) -> Data:
    items = Items([str(row) for row in range(len(rows))], [text for text, _ in rows])
    return Data(name, name, corpus=items, labels=[label for _, label in rows])
