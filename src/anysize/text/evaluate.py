"""Measuring embedders: judged retrieval where there are judgements, kept neighbourhoods where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.cost import latency_ms
from anysize.core.frontier import ORIGINAL, Record
from anysize.core.neighbours import neighbour_overlap, rank
from anysize.core.retrieval_metrics import evaluate
from anysize.text.features_once import FeaturesOnce

if TYPE_CHECKING:
    from anysize.core.data import Data, Items
    from anysize.text.embedder import Embedder

Views = Mapping[str, Sequence["Embedder"]]


class RetrievalEvaluator:
    """Exact search at every size: ``ndcg@10``, ``recall@10``, ``recall@100``, ``mrr@10`` and milliseconds per query."""

    metric = "ndcg@10"
    metrics = ("ndcg@10", "recall@10", "recall@100", "mrr@10")

    def accepts(self, data: Data) -> bool:
        """Whether the data judges which documents answer which queries."""
        return data.is_judged

    def describe(self, data: Data, *, held_out: bool) -> dict[str, Any]:
        """What is measured, for the frontier's caption."""
        task = data.judged(held_out=held_out)
        kept = " held out from training" if held_out and data.pairs is not None else ""
        return {"task": f"retrieval: {len(task.queries)} queries{kept} over {len(task.corpus)} documents"}

    def evaluate(self, views: Views, data: Data, *, held_out: bool = False) -> list[Record]:
        """One record per view; each encoder reads each text once, whatever the number of sizes."""
        task = data.judged(held_out=held_out)
        features = FeaturesOnce(
            task.corpus, task.queries, tasks=("retrieval.passage", "retrieval.query"), sides=("document", "query")
        )
        records = []
        for arm, models in views.items():
            for model in models:
                corpus, queries = (model.project(part) for part in features.of(model))
                found, _ = rank(queries, corpus, k=min(100, len(corpus)))
                metrics = evaluate(task, found, self.metrics)
                ms = _search_time(model, task.queries, features.of(model)[1], corpus)
                records.append(_record(model, arm, metrics, ms))
        return records


class NeighbourEvaluator:
    """No judgements: the share of each item's 10 nearest neighbours, under the untouched model, that a size keeps."""

    metric = "neighbours@10"
    sample = 1000

    def accepts(self, data: Data) -> bool:
        """Whether there are enough items to have neighbours."""
        return len(data.items()) > 11

    def describe(self, data: Data, *, held_out: bool) -> dict[str, Any]:
        """What is measured, for the frontier's caption."""
        count = len(data.items())
        return {
            "task": f"the 10 nearest neighbours of {min(self.sample, count)} items among {count}, kept at each size"
        }

    def evaluate(self, views: Views, data: Data, *, held_out: bool = False) -> list[Record]:
        """One record per view, against exact neighbours under the original arm; without one, under its features."""
        items = data.items()
        # Items are what an index would hold, so they are encoded as documents.
        features = FeaturesOnce(items, tasks=("text-matching",), sides=("document",))
        chosen = np.random.default_rng(0).permutation(len(items))[: self.sample]
        untouched = [model.project(features.of(model)[0]) for model in views.get(ORIGINAL, ())]
        records = []
        for arm, models in views.items():
            for model in models:
                (raw,) = features.of(model)
                corpus = model.project(raw)
                kept = neighbour_overlap(untouched[-1] if untouched else raw, corpus, k=10, rows=chosen)
                ms = _search_time(model, items.take(chosen[:3]), raw[chosen[:3]], corpus)
                records.append(_record(model, arm, {self.metric: kept}, ms))
        return records


def _search_time(model: Embedder, queries: Items, features: np.ndarray, corpus: np.ndarray) -> float:
    """
    Milliseconds to answer one query by a scan of the corpus at this size.

    Encoding its text is part of it where the size decides how long that takes; elsewhere it comes on top.
    """
    corpus = np.ascontiguousarray(corpus)
    if model.times_encoding and queries.texts:
        texts = sorted(queries.texts, key=len)
        middle = texts[len(texts) // 2]
        return latency_ms(lambda: rank(model.encode([middle], side="query"), corpus, k=10), repeats=15)
    return latency_ms(lambda: rank(model.project(features[:1]), corpus, k=10), repeats=15)


def _record(model: Embedder, arm: str, metrics: dict[str, float], ms: float) -> Record:
    cost = model.cost()
    return Record(model.size, arm, metrics, cost.bytes, ms=ms, parameters=cost.parameters, flops=cost.flops)
