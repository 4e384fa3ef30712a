"""
How much a choice of budget for each question could gain (M3, section 4.3), and how much of that is luck.

The oracle knows the answers: it takes the fewest tokens at which a question is answered. The largest of several noisy
answers is right more often than each, even where nothing could be known, so a control stands beside it: the same
accuracies at every budget, shuffled among questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anysize.core.errors import DataError


@dataclass(frozen=True)
class Choice:
    """What choosing a budget for each question comes to."""

    accuracy: float
    tokens: float
    """Mean tokens a question."""


@dataclass(frozen=True)
class Oracle:
    """The choice that knows the answers, and what it stands beside."""

    fewest: Choice
    """A question that no budget answers costs the fewest tokens."""
    most: Choice
    """A question that no budget answers costs the most tokens."""
    control: Choice
    """The mean of shuffled answers, counted as `fewest`."""
    best_fixed: Choice
    """The best single budget."""
    histogram: dict[int, int]
    """Tokens -> questions for which they are the fewest that answer."""


def oracle(correct: np.ndarray, tokens: Sequence[int], *, shuffles: int = 20, seed: int = 0) -> Oracle:
    """
    What could be gained, from `correct` (questions, budgets) of 0 and 1, where budget j takes `tokens[j]`, increasing.

    Raises `DataError` if the two do not fit each other.
    """
    marks = np.asarray(correct, dtype=bool)
    if marks.ndim != 2 or marks.shape[1] != len(tokens) or len(marks) == 0 or list(tokens) != sorted(set(tokens)):
        raise DataError(f"marks of shape {marks.shape} are none of {len(tokens)} increasing budgets")
    rng = np.random.default_rng(seed)
    shuffled = [_chosen(rng.permuted(marks, axis=0), tokens, tokens[0]) for _ in range(shuffles)]
    best = int(marks.mean(0).argmax())
    first = marks.argmax(1)[marks.any(1)]
    return Oracle(
        _chosen(marks, tokens, tokens[0]),
        _chosen(marks, tokens, tokens[-1]),
        Choice(float(np.mean([one.accuracy for one in shuffled])), float(np.mean([one.tokens for one in shuffled]))),
        Choice(float(marks[:, best].mean()), float(tokens[best])),
        {count: int((first == place).sum()) for place, count in enumerate(tokens)},
    )


def _chosen(marks: np.ndarray, tokens: Sequence[int], otherwise: int) -> Choice:
    spent = np.where(marks.any(1), np.asarray(tokens)[marks.argmax(1)], otherwise)
    return Choice(float(marks.any(1).mean()), float(spent.mean()))
