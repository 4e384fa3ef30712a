"""What a linear classifier reads off the tower's pooled patches of drawings: whether a question could be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from anysize.tokens.budget.grid import GridPool
from benchmarks.tokens.together import Question

LEARN = 2000
"""Drawings to learn from at most."""


def answers_of(asked: Mapping[int, Sequence[Question]], among: Sequence[str]) -> dict[int, str]:
    """Drawing -> the answer, of these, that one of its questions has."""
    return {drawing: one.answer for drawing, each in asked.items() for one in each if one.answer in among}


def probed(
    seen: Mapping[str, np.ndarray], known: Mapping[int, str], test: Mapping[int, str], sizes: Sequence[int]
) -> dict[str, float]:
    """Number of tokens -> share of the drawings of `test` that is told right; `seen` as the tower gives them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = {}
    learnt = dict(list(known.items())[:LEARN])
    for tokens in sizes:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        model.fit(_pooled(seen["train"], learnt, tokens), list(learnt.values()))
        found[str(tokens)] = float(model.score(_pooled(seen["test"], test, tokens), list(test.values())))
    return found


def _pooled(seen: np.ndarray, drawings: Mapping[int, str], tokens: int) -> np.ndarray:
    states = torch.from_numpy(seen[list(drawings)].astype(np.float32))
    side = round(states.shape[1] ** 0.5)
    return GridPool().keep(states, tokens, (side, side)).flatten(1).numpy()
