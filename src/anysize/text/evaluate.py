"""Measuring embedders: judged retrieval where there are judgements, kept neighbourhoods where there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.frontier import ORIGINAL, Record
from anysize.core.identical import say, spare
from anysize.core.neighbourhoods import kept, nearest_others
from anysize.core.neighbours import rank
from anysize.core.progress import each_view
from anysize.core.retrieval_metrics import evaluate_each
from anysize.core.timing import timed
from anysize.text.features_once import FeaturesOnce

if TYPE_CHECKING:
    from anysize.core.data import Data, Items
    from anysize.text.embedder import Embedder

Views = Mapping[str, Sequence["Embedder"]]
_TIMED = 1 << 23  # values of all sizes' documents that are held to be timed: 32 MB


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
        return {
            "task": f"retrieval: {len(task.queries)} queries{kept} over {len(task.corpus)} documents",
            "units": "queries",
            "identical": data.identical,
            "notes": say(data.identical, task),
        }

    def evaluate(self, views: Views, data: Data, *, held_out: bool = False) -> list[Record]:
        """One record per view; each encoder reads each text once, whatever the number of sizes."""
        task = data.judged(held_out=held_out)
        features = FeaturesOnce(
            task.corpus, task.queries, tasks=("retrieval.passage", "retrieval.query"), sides=("document", "query")
        )
        records = []
        for arm, model in each_view(views):
            corpus, queries = (model.project(part) for part in features.of(model))
            found, _ = rank(queries, corpus, k=min(100 + spare(task), len(corpus)))
            records.append(_record(model, arm, evaluate_each(task, found, self.metrics)))
        return _with_times(records, views, task.queries, lambda model: features.of(model)[::-1])


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
        asked = min(self.sample, count)
        notes = []
        if asked < count:
            notes.append(f"{asked} of {count} items, drawn with seed 0, ask for their neighbours among all")
        if held_out:
            notes.append("these are the items that the model learnt from, without labels; none are held out")
        return {
            "task": f"the 10 nearest neighbours of {asked} items among {count}, kept at each size",
            "units": "items",
            "notes": notes,
        }

    def evaluate(self, views: Views, data: Data, *, held_out: bool = False) -> list[Record]:
        """
        One record per view, against exact neighbours under the original arm; without one, under its features.

        Vectors are read a block at a time, so that a mapped file may be larger than the memory.
        """
        items = data.items()
        # Items are what an index would hold, so they are encoded as documents.
        features = FeaturesOnce(items, tasks=("text-matching",), sides=("document",))
        asked = np.sort(np.random.default_rng(0).permutation(len(items))[: self.sample])
        untouched = [
            nearest_others(features.of(model)[0], model.project, asked, 10) for model in views.get(ORIGINAL, ())
        ]
        known: dict[int, np.ndarray] = {}  # of features that no original arm stands for
        records = []
        for arm, model in each_view(views):
            (raw,) = features.of(model)
            if not untouched and id(raw) not in known:
                known[id(raw)] = nearest_others(raw, lambda rows: rows, asked, 10)
            before = untouched[-1] if untouched else known[id(raw)]
            share = kept(before, nearest_others(raw, model.project, asked, 10))
            records.append(_record(model, arm, {self.metric: share}))
        return _with_times(records, views, items.take(asked[:3]), lambda model: (features.of(model)[0],) * 2)


def _record(model: Embedder, arm: str, units: dict[str, np.ndarray]) -> Record:
    cost = model.cost()
    metrics = {name: float(values.mean()) for name, values in units.items()}
    return Record(model.size, arm, metrics, cost.bytes, parameters=cost.parameters, flops=cost.flops, units=units)


def _with_times(
    records: list[Record], views: Views, queries: Items, features: Callable[[Embedder], tuple[Any, ...]]
) -> list[Record]:
    """
    The records with the milliseconds that one query takes: its projection and the scan of all documents, on one thread.

    `features` gives those of the queries and of the documents. Encoding the query's text is part of it where the size
    decides how long that takes; elsewhere it comes on top. Of many documents some are scanned, and the rest reckoned.
    """
    models = [model for found in views.values() for model in found]
    documents = max(len(features(model)[1]) for model in models)
    widths = [model.project(features(model)[1][:1]).shape[1] for model in models]
    rows = max(1, min(documents, _TIMED // sum(widths)))
    runs = [_search(model, queries, features(model), rows) for model in models]
    return timed(records, runs, scale=documents / rows)


def _search(model: Embedder, queries: Items, features: tuple[Any, ...], rows: int) -> Callable[[], object]:
    import torch

    asked, documents = features
    corpus = torch.from_numpy(np.ascontiguousarray(model.project(documents[:rows])))
    k, first = min(10, len(corpus)), np.asarray(asked[:1])
    texts = sorted(queries.texts, key=len) if model.times_encoding and queries.texts else []

    def answer() -> object:
        query = model.encode([texts[len(texts) // 2]], side="query") if texts else model.project(first)
        return torch.topk(corpus @ torch.from_numpy(query[0]), k)

    return answer
