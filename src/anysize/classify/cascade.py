"""
Adaptive classification: stop at the smallest size that is confident enough (Kusupati et al. 2022, section 4.2.1).

A cascade has a threshold for every size but the last. A row whose largest probability exceeds the threshold of the
smallest size stops there; the others go on to the next. Its cost is the expected dims: the mean size of the exits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np

from anysize.core.digests import check_signature, signed
from anysize.core.errors import AnysizeError, CheckpointError, DataError, refused_as_damaged
from anysize.core.files import read_json, write_json
from anysize.core.sizes.checks import whole_numbers

if TYPE_CHECKING:
    from anysize.classify.classifier import Classifier

FORMAT = 1
GRID = np.linspace(0.1, 1, 100)


class Exits(NamedTuple):
    """What a cascade decided for each row."""

    labels: np.ndarray
    """(n,) int64: the class."""
    dims: np.ndarray
    """(n,) int64: the size at which the row stopped."""


class Cap(NamedTuple):
    """The cascade when no size above `cap` may be used."""

    cap: int
    expected_dims: float
    accuracy: float


class AdaptiveClassifier:
    """
    A cascade over the sizes `dims` of one nested classifier.

    `classifier` is needed by `predict` alone; thresholds, `decide` and `caps` work on the probabilities of any model.
    Raises `SizeError` if `dims` is not increasing.
    """

    def __init__(self, dims: Sequence[int], classifier: Classifier | None = None) -> None:
        self.dims = whole_numbers("dims", dims)
        self.classifier = classifier
        self.thresholds: tuple[float, ...] | None = None
        """One per size but the last; a row stops where its confidence is above. None before fitting."""
        self._expected: float | None = None

    def fit_thresholds(
        self,
        probabilities: Sequence[np.ndarray],
        labels: np.ndarray,
        *,
        method: Literal["budget", "paper"] = "budget",
        tolerance: float = 0.005,
        margin: float = 1.0,
    ) -> Self:
        """
        Learn the thresholds from rows that were not trained on: probabilities (n, classes) at each size, labels (n,).

        ``"budget"``: the fewest expected dims with one threshold for all sizes, such that accuracy falls at most
        `tolerance` (a share of the rows) below that of the full size, counting `margin` standard errors of the fall as
        lost too. Thresholds chosen one by one look better on the rows they come from and worse on new ones.
        ``"paper"``: each pair of neighbouring sizes alone; the smallest of 100 thresholds that gives that pair its best
        accuracy. Raises `DataError` for probabilities or labels that cannot be right.
        """
        if tolerance < 0 or margin < 0:
            raise AnysizeError(f"tolerance and margin are at least 0; got {tolerance} and {margin}")
        confidence, correct = self._scored(probabilities, labels)
        if method == "paper":
            found = [_pair_threshold(confidence[g], correct[g], correct[g + 1]) for g in range(len(self.dims) - 1)]
        elif method == "budget":
            shared = _shared_threshold(np.asarray(self.dims), confidence, correct, tolerance, margin)
            found = [shared] * (len(self.dims) - 1)
        else:
            raise AnysizeError(f"{method!r} is no way to find thresholds; use 'budget' or 'paper'")
        self.thresholds = tuple(float(value) for value in found)
        self._expected = float(np.mean(self.decide(probabilities).dims))
        return self

    def decide(self, probabilities: Sequence[np.ndarray]) -> Exits:
        """Labels and exit sizes from probabilities (n, classes) at each size, smallest first."""
        checked = self._checked(probabilities)
        stop = _stops(np.stack([p.max(1) for p in checked]), self._fitted())
        labels = np.stack([p.argmax(1) for p in checked])
        return Exits(labels[stop, np.arange(len(stop))], np.asarray(self.dims)[stop])

    def predict(self, inputs: Any) -> Exits:
        """
        Labels (places in the classifier's `classes`) and exit sizes; a row is scored only at the sizes it reaches.

        Raises `AnysizeError` without a classifier or thresholds.
        """
        if self.classifier is None:
            raise AnysizeError("this cascade has no classifier; give it one, or give probabilities to decide(...)")
        thresholds = (*self._fitted(), -np.inf)
        features = self.classifier.features(inputs)
        labels, dims = np.zeros(len(features), np.int64), np.zeros(len(features), np.int64)
        going = np.arange(len(features))
        for size, threshold in zip(self.dims, thresholds, strict=True):
            found = self.classifier.at(dims=size).probabilities(features[going])
            stopped = found.max(1) > threshold
            labels[going[stopped]], dims[going[stopped]] = found.argmax(1)[stopped], size
            going = going[~stopped]
            if not len(going):
                break
        return Exits(labels, dims)

    def expected_dims(self, probabilities: Sequence[np.ndarray] | None = None) -> float:
        """The mean exit size on these rows, or on those that the thresholds were learned from."""
        self._fitted()
        if probabilities is not None:
            return float(np.mean(self.decide(probabilities).dims))
        assert self._expected is not None
        return self._expected

    def caps(self, probabilities: Sequence[np.ndarray], labels: np.ndarray) -> list[Cap]:
        """Expected dims and accuracy for every cap on the largest size that may be used, smallest cap first."""
        confidence, correct = self._scored(probabilities, labels)
        thresholds, rows = self._fitted(), np.arange(len(labels))
        report = []
        for count, cap in enumerate(self.dims, start=1):
            stop = _stops(confidence[:count], thresholds[: count - 1])
            report.append(Cap(cap, float(np.asarray(self.dims)[stop].mean()), float(correct[stop, rows].mean())))
        return report

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sizes and thresholds as JSON."""
        content = {"format": FORMAT, "kind": "cascade", "dims": self.dims, "thresholds": self._fitted()}
        write_json(Path(path), signed(content | {"expected_dims": self._expected}))

    @classmethod
    def load(cls, path: str | os.PathLike[str], classifier: Classifier | None = None) -> Self:
        """Read what `save` wrote. Raises `CheckpointError` if it is something else, or was altered."""
        found = read_json(Path(path), "a cascade")
        if not isinstance(found, dict) or found.get("kind") != "cascade" or found.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not a cascade of format {FORMAT}")
        check_signature(found, Path(path))
        with refused_as_damaged(f"{path} cannot be read as a cascade"):
            cascade = cls(found["dims"], classifier)
            thresholds = tuple(map(float, found["thresholds"]))
            cascade._expected = float(found["expected_dims"])
        if len(thresholds) != len(cascade.dims) - 1:
            raise CheckpointError(f"{path} holds {len(thresholds)} thresholds for {len(cascade.dims)} sizes")
        cascade.thresholds = thresholds
        return cascade

    def _fitted(self) -> tuple[float, ...]:
        if self.thresholds is None:
            raise AnysizeError("this cascade has no thresholds yet; call fit_thresholds with held-out rows first")
        return self.thresholds

    def _checked(self, probabilities: Sequence[np.ndarray]) -> list[np.ndarray]:
        listed = [np.asarray(p) for p in probabilities]
        if len(listed) != len(self.dims):
            raise DataError(f"{len(listed)} arrays of probabilities for {len(self.dims)} sizes; give one per size")
        for size, p in zip(self.dims, listed, strict=True):
            if p.ndim != 2 or p.shape != listed[0].shape or not len(p):
                raise DataError(
                    f"probabilities at dims={size} have shape {p.shape}; expected (rows, classes) as for all"
                )
            if not np.isfinite(p).all() or (p < 0).any() or not np.allclose(p.sum(1), 1, atol=1e-3):
                raise DataError(
                    f"rows at dims={size} are not probabilities (they must sum to 1); apply a softmax first"
                )
        return listed

    def _scored(self, probabilities: Sequence[np.ndarray], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Confidence and correctness, both (sizes, n)."""
        checked, y = self._checked(probabilities), np.asarray(labels)
        if y.shape != (len(checked[0]),) or y.dtype.kind not in "iu":
            raise DataError(f"labels are {y.dtype} of shape {y.shape}; expected whole numbers, one for each row")
        return np.stack([p.max(1) for p in checked]), np.stack([p.argmax(1) == y for p in checked])


def _stops(confidence: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """The place of the size at which each column of `confidence` (sizes, n) stops."""
    above = confidence > np.array([*thresholds, -np.inf])[:, None]
    return above.argmax(0)


def _pair_threshold(confidence: np.ndarray, small: np.ndarray, large: np.ndarray) -> float:
    """The smallest of the grid at which `small` where confident, else `large`, is right most often."""
    right = np.where(confidence > GRID[:, None], small, large).sum(1)
    return float(GRID[right.argmax()])


def _shared_threshold(
    dims: np.ndarray, confidence: np.ndarray, correct: np.ndarray, tolerance: float, margin: float
) -> float:
    """The threshold of the grid, the same for all sizes, with the fewest expected dims and a bounded loss."""
    rows, best, cost = np.arange(confidence.shape[1]), 1.0, float(dims[-1])
    for threshold in GRID:
        stop = _stops(confidence, [threshold] * (len(dims) - 1))
        lost = correct[-1].astype(float) - correct[stop, rows]  # 1: right only in full, -1: right only in the cascade
        bound = lost.mean() + margin * lost.std() / np.sqrt(len(rows))
        if bound <= tolerance + 1e-12 and dims[stop].mean() < cost:
            best, cost = float(threshold), float(dims[stop].mean())
    return best
