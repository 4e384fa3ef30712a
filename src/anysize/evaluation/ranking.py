"""
How good a ranking is: nDCG, recall, MRR, MAP, precision per query, in the conventions of trec_eval and of MRL.

BEIR and most papers report trec_eval's definitions (linear gain, log2 discount, average precision over all relevant
documents). The MRL paper's code divides average precision by k and recall by a constant; ask for those by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from anysize.core.data.records import Judgements, Retrieval
from anysize.core.errors import AnysizeError
from anysize.evaluation.identical import without_itself

Normalizer = Literal["relevant", "min", "k"]


@dataclass(frozen=True)
class Judged:
    """Rankings with the judgement of every place filled in."""

    gains: np.ndarray
    """(q, k) gain of the document at each place, best place first; 0 if it is not relevant."""
    ideal: np.ndarray
    """(q, r) the gains of all relevant documents of each query, largest first, padded with 0."""

    @property
    def relevant(self) -> np.ndarray:
        """(q,) how many documents are relevant."""
        return (self.ideal > 0).sum(axis=1)


def judge(ranked: np.ndarray, queries: Sequence[str], documents: Sequence[str], qrels: Judgements) -> Judged:
    """
    Look up what was ranked: `ranked` is (q, k) positions in `documents`, best first; -1 is an empty place.

    As trec_eval has it, a grade of 0 or below is not relevant, a relevant document that is not among `documents` is
    still to be found, and a query without any scores 0 by every measure. Of equal scores trec_eval puts the larger id
    first; here a ranking is scored in the order that it has. Raises `AnysizeError` if the counts differ.
    """
    if ranked.ndim != 2 or len(ranked) != len(queries):
        raise AnysizeError(f"rankings have shape {ranked.shape}; expected one row for each of {len(queries)} queries")
    place = {name: row for row, name in enumerate(documents)}
    gains = np.zeros(ranked.shape)
    found = [{document: gain for document, gain in qrels.get(query, {}).items() if gain > 0} for query in queries]
    ideal = np.zeros((len(queries), max(map(len, found), default=0)))
    for row, answers in enumerate(found):
        ideal[row, : len(answers)] = sorted(answers.values(), reverse=True)
        for document, gain in answers.items():
            if document in place:
                gains[row][ranked[row] == place[document]] = gain
    return Judged(gains, ideal)


def ndcg(judged: Judged, k: int) -> np.ndarray:
    """(q,) normalised discounted cumulative gain: gain / log2(1 + place), over that of the best order there is."""
    return _share(_dcg(judged.gains[:, :k]), _dcg(judged.ideal[:, :k]))


def recall(judged: Judged, k: int, *, out_of: int | None = None) -> np.ndarray:
    """(q,) share of the relevant documents in the first k. The MRL paper divides by a constant (1300): `out_of`."""
    return _share(_hits(judged, k), judged.relevant if out_of is None else np.full(len(judged.gains), out_of))


def precision(judged: Judged, k: int) -> np.ndarray:
    """(q,) share of the first k places that hold a relevant document."""
    return _hits(judged, k) / k


def mrr(judged: Judged, k: int) -> np.ndarray:
    """(q,) one over the place of the first relevant document, 0 if it is not in the first k."""
    hit = judged.gains[:, :k] > 0
    return np.where(hit.any(axis=1), 1.0 / (1 + hit.argmax(axis=1)), 0.0)


def average_precision(judged: Judged, k: int, normalizer: Normalizer = "relevant") -> np.ndarray:
    """
    (q,) sum of precision@i over the places i <= k that hold a relevant document, divided by `normalizer`.

    ``"relevant"``: all relevant documents (trec_eval's map_cut, BEIR); ``"min"``: the most that fit, min(k, relevant);
    ``"k"``: k itself (the MRL paper's code).
    """
    hit = judged.gains[:, :k] > 0
    at = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
    divisor = {"relevant": judged.relevant, "min": np.minimum(judged.relevant, k), "k": np.full(len(hit), k)}
    if normalizer not in divisor:
        raise AnysizeError(f"{normalizer!r} does not normalise average precision; use relevant, min or k")
    return _share((at * hit).sum(axis=1), divisor[normalizer])


METRICS: dict[str, Callable[[Judged, int], np.ndarray]] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "mrr": mrr,
    "map": average_precision,
    "mrl_map": lambda judged, k: average_precision(judged, k, "k"),
    "mrl_recall": lambda judged, k: recall(judged, k, out_of=1300),
}


def scores(judged: Judged, name: str) -> np.ndarray:
    """(q,) a metric by name of every query: ``ndcg@10``, ``map@100``, ``mrl_map@10`` (the MRL paper's)."""
    word, at, cutoff = name.partition("@")
    if word not in METRICS or not at or not cutoff.isdecimal() or int(cutoff) < 1:
        raise AnysizeError(
            f"{name!r} is not a retrieval metric; write one of {', '.join(METRICS)} with a cutoff: ndcg@10"
        )
    return METRICS[word](judged, int(cutoff))


def score(judged: Judged, name: str) -> float:
    """The mean over queries of a metric by name, as in `scores`."""
    return float(scores(judged, name).mean())


def evaluate_each(task: Retrieval, ranked: np.ndarray, names: Sequence[str] = ("ndcg@10",)) -> dict[str, np.ndarray]:
    """
    Metric -> (q,) its value for each of the task's queries.

    `ranked` is (q, k + spare(task)) positions in its corpus, best first, with k at least the largest cutoff; documents
    that the task leaves out of a ranking are taken from it.
    """
    kept = without_itself(task, ranked, ranked.shape[1])
    judged = judge(kept, task.queries.ids, task.corpus.ids, task.qrels)
    return {name: scores(judged, name) for name in names}


def evaluate(task: Retrieval, ranked: np.ndarray, names: Sequence[str] = ("ndcg@10",)) -> dict[str, float]:
    """Means over the task's queries of what `evaluate_each` gives."""
    return {name: float(found.mean()) for name, found in evaluate_each(task, ranked, names).items()}


def _hits(judged: Judged, k: int) -> np.ndarray:
    return (judged.gains[:, :k] > 0).sum(axis=1)


def _share(found: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where there was nothing to find."""
    return np.divide(found, whole, out=np.zeros(len(found)), where=whole > 0)


def _dcg(gains: np.ndarray) -> np.ndarray:
    return (gains / np.log2(np.arange(2, gains.shape[1] + 2))).sum(axis=1)
