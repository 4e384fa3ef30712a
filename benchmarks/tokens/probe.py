"""What the tower's patches of drawings hold: their means and spreads, and what a linear classifier reads off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from anysize.tokens.budget.grid import GridPool
from benchmarks.tokens.together import Question

LEARN = 2000
"""Drawings to learn from at most."""


def standardised(projector: Any, seen: np.ndarray) -> None:
    """Let the projector begin as if patches had mean 0 and spread 1: what differs between drawings is small in them."""
    values = torch.from_numpy(seen[:400].astype(np.float32)).flatten(0, 1)
    with torch.no_grad():
        projector.linear_1.weight /= values.std(0)
        projector.linear_1.bias -= projector.linear_1.weight @ values.mean(0)


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
