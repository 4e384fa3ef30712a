"""
A vote of the nearest names: every code collects a kernel of how near its names are, times how often each had it.

Training mentions are often labelled in several ways, so the nearest name alone is a noisy judge; the shares of the
votes also say how sure the answer is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Vote:
    """How names are counted. Chosen on folds of the training documents."""

    mentions: int = 60
    """How many of the nearest training mentions vote."""
    rows: int = 20
    """How many of the nearest names of the dictionary vote."""
    temperature: float = 0.06
    """Width of the kernel."""
    factor: float = 1.05
    """What the similarity of a name of the dictionary is multiplied by."""
    lexical: float = 1.0
    """Weight of the tf-idf cosine beside the cosine of the vectors."""


@dataclass(frozen=True)
class Ballot:
    """The names, by number, and the codes that each stands for."""

    starts: np.ndarray
    """Where the codes of each name begin, (names + 1,)."""
    codes: np.ndarray
    """Code numbers, one name after the other."""
    counts: np.ndarray
    """How often each name had that code; 1 for names of the dictionary."""
    official: np.ndarray
    """Which names are of the dictionary, (names,) bool."""

    def shares(self, names: np.ndarray, similar: np.ndarray, how: Vote) -> list[tuple[int, float]]:
        """
        Code numbers with their shares of the votes, the largest first.

        `names` (c,) are candidates and `similar` (c,) how near they are.
        """
        if not len(names):
            return []
        official = self.official[names]
        scores = np.where(official, how.factor * similar, similar)
        order = np.argsort(-scores, kind="stable")
        ranked = official[order]
        chosen = np.sort(np.concatenate([order[ranked][: how.rows], order[~ranked][: how.mentions]]))
        weights = np.exp((scores[chosen] - scores[chosen].max()) / how.temperature)
        tally: dict[int, float] = {}
        for name, weight in zip(names[chosen].tolist(), weights.tolist(), strict=True):
            for place in range(self.starts[name], self.starts[name + 1]):
                code = int(self.codes[place])
                tally[code] = tally.get(code, 0.0) + weight * float(self.counts[place])
        total = sum(tally.values())
        return sorted(((code, value / total) for code, value in tally.items()), key=lambda one: (-one[1], one[0]))
