"""
Measuring codes by what CSR makes them for (Wen et al. 2025, arXiv 2503.01776, section 4): search, and 1-NN classes.

The standard nDCG is used; the authors' code takes the best order of what was retrieved for the ideal one, which gives
a query with one of fifty answers found a 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from anysize.core.model.faces import Corpus, Searches
from anysize.core.verbs.evaluator import Evaluator, Scores, Task
from anysize.evaluation.once import FeaturesOnce
from anysize.evaluation.retrieval import RetrievalEvaluator
from anysize.evaluation.searching import ByScores

if TYPE_CHECKING:
    from anysize.core.data.data import Data


@dataclass(frozen=True)
class SparseRetrievalEvaluator(RetrievalEvaluator):
    """Exact search by codes at every size: nDCG, recall and MRR, beside dense vectors of as many coordinates."""

    face: ClassVar[type] = Searches
    what: ClassVar[str] = "retrieval by codes"


class SparseAccuracyEvaluator(Evaluator):
    """The share of items whose nearest neighbour, by the cosine of codes, has their label, at every size."""

    face = Searches
    needs = "items with labels"

    def accepts(self, data: Data) -> bool:
        """Whether the items have labels."""
        return data.labels is not None and len(data.items()) > 1

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """The tenth of the items that training would hold out is asked for among the others."""
        on = _Labelled(data)
        asked, kept = int(on.asked.sum()), " held out from training" if held_out else ""
        said = f"1-NN classification of {asked} items{kept} by {len(on.asked) - asked} others"
        return Task(said, "1-nn accuracy", "items", on)

    def score(self, view: Searches, task: Task) -> Scores:
        """Bytes are those of the codes as they are."""
        on: _Labelled = task.on
        (vectors,) = on.features.of(view)
        corpus = on.features.corpus(view).once("others", lambda: Corpus(vectors[~on.asked]))
        searched = ByScores(view.scorer(corpus), len(corpus.rows), vectors[on.asked])
        nearest = searched.nearest(1)[:, 0]
        right = (on.labels[~on.asked][nearest] == on.labels[on.asked]).astype(float)
        return Scores({task.metric: right}, searched.metrics, searched.one(), **searched.costs)


class _Labelled:
    def __init__(self, data: Data) -> None:
        from anysize.sparse.rows.stored import is_held_out

        self.items, self.labels = data.items(), np.array([str(label) for label in data.labels or []])
        self.asked = is_held_out(np.arange(len(self.items)), len(self.items))
        self.features = FeaturesOnce(self.items, sides=("document",))
