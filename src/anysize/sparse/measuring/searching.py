"""
Measuring codes by what CSR makes them for (Wen et al. 2025, arXiv 2503.01776, section 4): search, and 1-NN classes.

The standard nDCG is used; the authors' code takes the best order of what was retrieved for the ideal one, which gives
a query with one of fifty answers found a 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.data.identical import say, spare
from anysize.core.errors import DataError
from anysize.core.frontier.record import Record
from anysize.core.frontier.records import ORIGINAL
from anysize.core.frontier.timing import timed
from anysize.core.progress import each_view
from anysize.core.sides import Side
from anysize.core.verbs.evaluator import Evaluator
from anysize.evaluation.nearest import rank_by
from anysize.evaluation.ranking import evaluate_each
from anysize.sparse.measuring.scoring import Scorer, Scorers
from anysize.sparse.rows.stored import is_held_out

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.data.records import Items
    from anysize.sparse.autoencoder.model import SparseAutoencoder
    from anysize.sparse.measuring.dense import Dense

Views = Mapping[str, Sequence["SparseAutoencoder | Dense"]]


class SparseRetrievalEvaluator(Evaluator):
    """Exact search by codes at every size: nDCG, recall and MRR, beside dense vectors of as many coordinates."""

    metric = "ndcg@10"
    metrics = ("ndcg@10", "recall@10", "recall@100", "mrr@10")
    usual = ("truncate", "pca")

    def accepts(self, data: Data) -> bool:
        """Whether the data judges which documents answer which queries."""
        return data.is_judged

    def describe(self, data: Data, *, held_out: bool) -> dict[str, Any]:
        """What is measured, for the frontier's caption."""
        task = data.judged(held_out=held_out)
        kept = " held out from training" if held_out and data.pairs is not None else ""
        return {
            "task": f"retrieval by codes: {len(task.queries)} queries{kept} over {len(task.corpus)} documents",
            "units": "queries",
            "identical": data.identical,
            "notes": say(data.identical, task),
        }

    def evaluate(self, views: Views, data: Data, *, held_out: bool = False) -> list[Record]:
        """One record per view; bytes are those of the codes as they are. Each text is embedded once."""
        task = data.judged(held_out=held_out)
        model: Any = next(iter(views.values()))[0]
        corpus, queries = vectors_of(model, task.corpus), vectors_of(model, task.queries, "query")
        records, runs = [], []
        for arm, view, scorer in _scorers(views, corpus):
            found = _nearest(scorer, queries, len(corpus), 100 + spare(task))
            records.append(_record(view, arm, evaluate_each(task, found, self.metrics), scorer))
            runs.append(partial(_nearest, scorer, queries[:1], len(corpus), 10))
        return timed(records, runs)


class SparseAccuracyEvaluator(Evaluator):
    """The share of items whose nearest neighbour, by the cosine of codes, has their label, at every size."""

    metric = "1-nn accuracy"
    usual = ("truncate", "pca")

    def accepts(self, data: Data) -> bool:
        """Whether the items have labels."""
        return data.labels is not None and len(data.items()) > 1

    def describe(self, data: Data, *, held_out: bool) -> dict[str, Any]:
        """What is measured, for the frontier's caption."""
        asked = int(_asked(len(data.items())).sum())
        kept = " held out from training" if held_out else ""
        others = len(data.items()) - asked
        return {"task": f"1-NN classification of {asked} items{kept} by {others} others", "units": "items"}

    def evaluate(self, views: Views, data: Data, *, held_out: bool = False) -> list[Record]:
        """One record per view. The tenth of the items that training would hold out is asked for among the others."""
        model: Any = next(iter(views.values()))[0]
        vectors, labels = vectors_of(model, data.items()), np.array([str(label) for label in data.labels or []])
        asked = _asked(len(vectors))
        corpus, queries = vectors[~asked], vectors[asked]
        records, runs = [], []
        for arm, view, scorer in _scorers(views, corpus):
            nearest = _nearest(scorer, queries, len(corpus), 1)[:, 0]
            right = (labels[~asked][nearest] == labels[asked]).astype(float)
            records.append(_record(view, arm, {self.metric: right}, scorer))
            runs.append(partial(_nearest, scorer, queries[:1], len(corpus), 10))
        return timed(records, runs)


def vectors_of(model: SparseAutoencoder, items: Items, side: Side = "document") -> np.ndarray:
    """
    The vectors (n, d) that an autoencoder reads of items: theirs, or those of their texts on this side of a search.

    Raises `DataError` for texts where the autoencoder was fitted on vectors, or for vectors of another width.
    """
    if items.vectors is not None:
        found = np.asarray(items.vectors, np.float32)
    elif model.source.model is None:
        raise DataError("this autoencoder was fitted on vectors and knows of no encoder; give it vectors, not texts")
    else:
        found = model.features(items.texts or [], side=side)
    model.standardize(found[:1])
    return found


def _asked(count: int) -> np.ndarray:
    return is_held_out(np.arange(count), count)


def _scorers(views: Views, corpus: np.ndarray) -> Iterator[tuple[str, SparseAutoencoder | Dense, Scorer]]:
    scorers = Scorers(corpus)
    for arm, view in each_view(views):
        yield arm, view, scorers.of(view)


def _nearest(scorer: Scorer, queries: np.ndarray, documents: int, k: int) -> np.ndarray:
    return rank_by(lambda rows: scorer.scores(queries[rows]), len(queries), documents, min(k, documents))[0]


def _record(view: SparseAutoencoder | Dense, arm: str, units: dict[str, np.ndarray], scorer: Scorer) -> Record:
    """Its time will be that of one query from its vector on: making the code, scoring all documents, choosing ten."""
    metrics = {name: float(values.mean()) for name, values in units.items()}
    if arm != ORIGINAL:
        metrics["-l0"] = -scorer.active
    return Record(view.size, arm, metrics, scorer.bytes, parameters=scorer.parameters, flops=scorer.flops, units=units)
