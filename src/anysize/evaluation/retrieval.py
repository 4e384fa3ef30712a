"""Measuring embedders: judged retrieval where there are judgements, kept neighbourhoods where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.core.model.faces import Embeds
from anysize.core.verbs.evaluator import Evaluator, Scores, Task
from anysize.evaluation.identical import say, spare
from anysize.evaluation.neighbourhoods import kept, nearest_others
from anysize.evaluation.once import FeaturesOnce
from anysize.evaluation.ranking import evaluate_each
from anysize.evaluation.searching import ByVectors, Mixed, search

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.data.records import Items, Retrieval
    from anysize.core.model.contract import NestedModel
    from anysize.core.sizes.size import Size


@dataclass(frozen=True)
class RetrievalEvaluator(Evaluator):
    """Exact search at every size: nDCG, recall and MRR of the first `k`, ``recall@100``, milliseconds per query."""

    face: ClassVar[type] = Embeds
    needs = "judgements or pairs"
    what: ClassVar[str] = "retrieval"
    k: int = 10
    """How many of the documents that are found count."""
    query_sizes: tuple[str, ...] | None = None
    """Sizes to embed queries at, each an arm of its own, whatever that of the documents: bits=2 or, of several axes,
    2:384. For models whose sizes can be compared with each other."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise AnysizeError(f"k must be above zero; got {self.k}")

    def accepts(self, data: Data) -> bool:
        """Whether the data judges which documents answer which queries."""
        return data.is_judged

    def arms(self, model: NestedModel, sizes: Sequence[Size]) -> dict[str, list[Any]]:
        """Documents at each size, and queries at each of `query_sizes`, where their vectors are equally long."""
        if self.query_sizes and not model.mixes_sizes:
            raise AnysizeError(f"queries of a {model.kind} are compared at their own size alone; leave out query-sizes")
        found = {}
        for asked in model.nesting.resolve_all(",".join(self.query_sizes)) if self.query_sizes else ():
            asks: Any = model.at(asked)
            alike = [size for size in sizes if size.get("dims") == asks.size.get("dims") and size != asks.size]
            stored: list[Any] = [model.at(size) for size in alike]
            found[f"queries at {asks.size}"] = [Mixed(one, asks) for one in stored]
        return found

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """The judged queries, or the pairs whose anchors training left out."""
        task = data.judged(held_out=held_out)
        kept = " held out from training" if held_out and data.pairs is not None else ""
        said = f"{self.what}: {len(task.queries)} queries{kept} over {len(task.corpus)} documents"
        on, facts = _Searched(task), {"identical": data.identical}
        return Task(said, f"ndcg@{self.k}", "queries", on, facts, say(data.identical, task))

    def score(self, view: Any, task: Task) -> Scores:
        """Each encoder reads each text once, whatever the number of sizes."""
        on: _Searched = task.on
        deepest = max(100, self.k)
        names = dict.fromkeys([f"ndcg@{self.k}", f"recall@{self.k}", "recall@100", f"mrr@{self.k}"])
        searched = search(view, on.features, on.task.queries)
        found = searched.nearest(deepest + spare(on.task))
        units = evaluate_each(on.task, found, tuple(names))
        return Scores(units, searched.metrics, searched.one(), **searched.costs)


class _Searched:
    def __init__(self, task: Retrieval) -> None:
        self.task = task
        self.features = FeaturesOnce(
            task.corpus, task.queries, tasks=("retrieval.passage", "retrieval.query"), sides=("document", "query")
        )


@dataclass(frozen=True)
class NeighbourEvaluator(Evaluator):
    """No judgements: the share of each item's `k` nearest neighbours, under the untouched model, that a size keeps."""

    face = Embeds
    needs = "more items than an item has neighbours"
    k: int = 10
    """How many neighbours of an item."""
    sample: int = 1000
    """The most items that ask for their neighbours; all answer."""

    def __post_init__(self) -> None:
        for name, value in (("k", self.k), ("sample", self.sample)):
            if value < 1:
                raise AnysizeError(f"{name} must be above zero; got {value}")

    def accepts(self, data: Data) -> bool:
        """Whether there are enough items to have neighbours."""
        return len(data.items()) > self.k + 1

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """All items, of which some, drawn with seed 0, ask."""
        on = _Neighbours(data.items(), self.k, self.sample)
        count, asked, notes = len(on.items), len(on.asked), []
        if asked < count:
            notes.append(f"{asked} of {count} items, drawn with seed 0, ask for their neighbours among all")
        if held_out:
            notes.append("these are the items that the model learnt from, without labels; none are held out")
        said = f"the {self.k} nearest neighbours of {asked} items among {count}, kept at each size"
        return Task(said, f"neighbours@{self.k}", "items", on, notes=tuple(notes))

    def score(self, view: Embeds, task: Task) -> Scores:
        """
        Against exact neighbours under the untouched model; where that is not at hand, under the features.

        Vectors are read a block at a time, so that a mapped file may be larger than the memory.
        """
        on: _Neighbours = task.on
        (raw,) = on.features.of(view)
        share = kept(on.before(view, task.original), nearest_others(raw, view.project, on.asked, self.k))
        one = ByVectors(view, raw, raw, on.items.take(on.asked[:3]), side="document").one()
        return Scores({task.metric: share}, run=one)


class _Neighbours:
    def __init__(self, items: Items, k: int, sample: int) -> None:
        self.items, self.k = items, k
        # Items are what an index would hold, so they are encoded as documents.
        self.features = FeaturesOnce(items, tasks=("text-matching",), sides=("document",))
        self.asked = np.sort(np.random.default_rng(0).permutation(len(items))[:sample])
        self._known: dict[object, np.ndarray] = {}

    def before(self, view: Embeds, original: Embeds | None) -> np.ndarray:
        """The neighbours of which a size keeps some."""
        source = view if original is None else original
        key = source.origin
        if key not in self._known:
            (raw,) = self.features.of(source)
            project = (lambda rows: rows) if original is None else original.project
            self._known[key] = nearest_others(raw, project, self.asked, self.k)
        return self._known[key]
