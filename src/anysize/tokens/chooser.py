"""
A budget for each question, chosen from how sure the smallest one is.

M3 leaves the choice to the user and shows what an oracle would gain. Here a logistic regression for each budget says
how likely it is right, given how far the two best first tokens of the answer are apart at the smallest budget; the
cheapest budget is taken that is likely enough. The price is one more reading at the smallest budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from anysize.core.errors import DataError

FEWEST = 20
"""Held-out questions that a choice is learnt from, at least."""
WITHIN = 0.05
"""By how much the chance of the chosen budget may be below that of the likeliest."""


@dataclass(frozen=True)
class Chooser:
    """`slopes` and `intercepts` of the log-odds of being right, one for each of `tokens`, over the margin."""

    tokens: tuple[int, ...]
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    within: float = WITHIN

    @classmethod
    def fit(cls, margins: np.ndarray, correct: np.ndarray, tokens: Sequence[int], within: float = WITHIN) -> Self:
        """
        From the margins (questions,) at the smallest budget, and who was right, (questions, budgets) of 0 and 1.

        Raises `DataError` if the two do not fit each other or there are fewer than ten questions.
        """
        margins, marks = np.asarray(margins, dtype=float), np.asarray(correct, dtype=float)
        if margins.shape != marks.shape[:1] or marks.shape != (len(margins), len(tokens)) or len(margins) < 10:
            raise DataError(
                f"margins {margins.shape} and marks {marks.shape} teach no choice among {len(tokens)} budgets"
            )
        found = [_logistic(margins, marks[:, place]) for place in range(len(tokens))]
        return cls(tuple(tokens), tuple(one[0] for one in found), tuple(one[1] for one in found), within)

    def chances(self, margins: np.ndarray) -> np.ndarray:
        """How likely each budget is right, (questions, budgets)."""
        odds = np.asarray(margins, dtype=float)[:, None] * np.array(self.slopes) + np.array(self.intercepts)
        return 1 / (1 + np.exp(-odds))

    def pick(self, margins: np.ndarray) -> list[int]:
        """Tokens for each question: the fewest that are likely enough."""
        chances = self.chances(margins)
        enough = chances >= chances.max(1, keepdims=True) - self.within
        return [self.tokens[int(place)] for place in enough.argmax(1)]

    def up_to(self, most: int) -> Self:
        """The same choice among budgets of at most `most` tokens."""
        kept = sum(count <= most for count in self.tokens)
        return replace(self, tokens=self.tokens[:kept], slopes=self.slopes[:kept], intercepts=self.intercepts[:kept])

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model's configuration."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        lists = {name: tuple(value[name]) for name in ("tokens", "slopes", "intercepts")}
        return cls(**lists, within=float(value["within"]))


def _logistic(x: np.ndarray, y: np.ndarray, ridge: float = 1e-2, steps: int = 50) -> tuple[float, float]:
    """Slope and intercept by Newton's method; the ridge keeps them finite where all answers are alike."""
    design, weights = np.stack([x, np.ones_like(x)], 1), np.zeros(2)
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (y - chance) - ridge * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + ridge * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return float(weights[0]), float(weights[1])
