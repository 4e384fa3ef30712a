"""
Measuring embedders on scored pairs, as in the STS tasks: eight correlations at every size, from one encode.

Cer et al. 2017 (STS Benchmark, arXiv 1708.00055); the eight as in Nacar and Koubaa 2024, arXiv 2407.21139.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from anysize.core.data.records import Items
from anysize.core.errors import DataError
from anysize.core.frontier.intervals import correlation_pseudo_values, rank_correlation_pseudo_values
from anysize.core.model.faces import Embeds
from anysize.core.verbs.evaluator import Evaluator, Scores, Task
from anysize.evaluation.correlation import Interval, paired_bootstrap, pearson, spearman
from anysize.evaluation.once import FeaturesOnce

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.data.records import Table

__all__ = [
    "METRICS", "Interval", "SimilarityEvaluator", "paired_bootstrap", "pair_similarities", "pearson",
    "similarity_metrics", "spearman",
]  # fmt: skip

Normalize = Literal["after_truncation", "none"]
FUNCTIONS = ("cosine", "manhattan", "euclidean", "dot")
METRICS = tuple(f"{correlation}_{function}" for function in FUNCTIONS for correlation in ("pearson", "spearman"))


@dataclass(frozen=True)
class SimilarityEvaluator(Evaluator):
    """
    Pearson's and Spearman's correlation with people's scores, of four similarities, at every size.

    The main one is ``spearman_cosine``. A similarity is never chosen by its result, so there is no ``spearman_max``.
    """

    face = Embeds
    needs = "scored pairs"
    normalize: Normalize = "after_truncation"
    """after_truncation: every size at unit length, so dot is cosine. none: as the model gives them, merely cut; a
    loss over cosines leaves lengths untrained, so dot, Manhattan and Euclidean then say less about the model."""

    def __post_init__(self) -> None:
        _check(self.normalize)

    def accepts(self, data: Data) -> bool:
        """Whether the data holds scored pairs."""
        return data.scored is not None

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """The pairs, with each distinct text once. Raises `DataError` if there are none."""
        pairs = _pairs(data, held_out)
        kept = " held out from training" if held_out else ""
        said, facts = f"similarity: {len(pairs)} scored pairs{kept}", {"normalize": self.normalize}
        return Task(said, "spearman_cosine", "scored pairs", _On(pairs), facts)

    def score(self, view: Embeds, task: Task) -> Scores:
        """Each encoder reads each distinct text once, whatever the number of sizes."""
        on: _On = task.on
        (raw,) = on.features.of(view)
        z = view.project(raw, normalize=self.normalize == "after_truncation")
        u, v, scores = z[on.left], z[on.right], on.pairs["score"]
        units = _units(pair_similarities(u, v, normalize=self.normalize), np.asarray(scores))
        return Scores(units, similarity_metrics(u, v, scores, normalize=self.normalize))


class _On:
    """Scored pairs as rows of their distinct texts."""

    def __init__(self, pairs: Table) -> None:
        place = {text: row for row, text in enumerate(dict.fromkeys([*pairs["sentence1"], *pairs["sentence2"]]))}
        self.pairs = pairs
        self.left, self.right = (
            [place[text] for text in column] for column in (pairs["sentence1"], pairs["sentence2"])
        )
        items = Items([str(row) for row in place.values()], list(place))
        self.features = FeaturesOnce(items, tasks=("text-matching",))


def similarity_metrics(
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "n d"],
    scores: Sequence[float] | np.ndarray,
    *,
    normalize: Normalize = "after_truncation",
) -> dict[str, float]:
    """
    The eight of `METRICS` for n pairs of embeddings, already cut, and the n scores that people gave.

    At unit length the ranks by cosine, dot and Euclidean are one, and so are their Spearman correlations.
    Raises `DataError` if a correlation does not exist: fewer than two pairs, or all scores or similarities equal.
    """
    found = pair_similarities(left, right, normalize=normalize)
    if len(scores) != len(left):
        raise DataError(f"{len(scores)} scores for {len(left)} pairs of embeddings; give one per pair")
    if len(scores) < 2 or np.ptp(scores) == 0:
        raise DataError(f"{len(scores)} scored pairs whose scores do not differ have no correlation; give others")
    metrics = {}
    for name, values in found.items():
        if np.ptp(values) == 0:
            raise DataError(f"all {len(values)} pairs have the same {name} similarity, so it correlates with nothing")
        metrics[f"pearson_{name}"] = pearson(values, scores)
        metrics[f"spearman_{name}"] = spearman(values, scores)
    return metrics


def _units(similarities: dict[str, np.ndarray], scores: np.ndarray) -> dict[str, np.ndarray]:
    """A value for each pair, whose mean is the correlation: what intervals come from."""
    found = {}
    for name, values in similarities.items():
        found[f"pearson_{name}"] = correlation_pseudo_values(values, scores)
        found[f"spearman_{name}"] = rank_correlation_pseudo_values(values, scores)
    return found


def pair_similarities(
    left: Float[np.ndarray, "n d"], right: Float[np.ndarray, "n d"], *, normalize: Normalize = "after_truncation"
) -> dict[str, Float[np.ndarray, " n"]]:
    """
    How alike each row of `left` is to that of `right`, by four functions; distances are negative, so more is nearer.

    Computed in float64 and rounded to 12 digits of the largest, because the order of two equal pairs (the same text
    twice, say) would otherwise be that of their rounding errors.
    """
    _check(normalize)
    if left.shape != right.shape or left.ndim != 2 or not left.size:
        raise DataError(f"similarities need two arrays of one shape (n, d); got {left.shape} and {right.shape}")
    u, v = left.astype(np.float64), right.astype(np.float64)
    unit_u, unit_v = _unit(u), _unit(v)
    if normalize == "after_truncation":
        u, v = unit_u, unit_v
    values = {
        "cosine": (unit_u * unit_v).sum(axis=1),
        "manhattan": -np.abs(u - v).sum(axis=1),
        "euclidean": -np.linalg.norm(u - v, axis=1),
        "dot": (u * v).sum(axis=1),
    }
    return {name: _rounded(column) for name, column in values.items()}


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of zeros, which have no direction, stay as they are: their cosine with anything is 0."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _rounded(values: np.ndarray) -> np.ndarray:
    largest = np.abs(values).max()
    return values if not largest > 0 else np.round(values / largest, 12) * largest


def _pairs(data: Data, held_out: bool) -> Table:
    pairs = data.similarity(held_out=held_out)
    if pairs is None:
        raise DataError(f"{data.name} holds no scored pairs; expected the columns sentence1, sentence2, score")
    return pairs


def _check(normalize: str) -> None:
    if normalize not in ("after_truncation", "none"):
        raise DataError(f"cannot normalise {normalize!r}; choose after_truncation or none")
