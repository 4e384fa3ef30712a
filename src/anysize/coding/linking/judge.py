"""
How probable it is that a document has a code, learnt from documents that the linker did not know.

Shares of votes are no probabilities: labels are inconsistent, spans may be wrong, and a parent competes with its
children. A small network reads what is known of a candidate and is trained on folds: the mentions of each document are
found and linked by a coder that never saw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from anysize.coding.detecting.crf import Place
from anysize.coding.linking.linker import Candidates, Linker
from anysize.coding.linking.vote import Vote
from anysize.coding.records.documents import normalised

KEPT = 10
"""Codes of a mention that are judged, from each view."""
FEATURES = 27
_VIEWS = (None, 0.0, 1e6)
"""Weights of the tf-idf cosine: the linker's own, none, and nothing else."""


class Candidate(NamedTuple):
    """A code for a mention, with its share of the votes and what the judge reads."""

    mention: int
    code: int
    share: float
    known: np.ndarray


def candidates_of(linker: Linker, text: str, places: Sequence[Place], found: Sequence[Candidates]) -> list[Candidate]:
    """What is known of every code of every mention of one document."""
    votes: list[tuple[list[dict[int, float]], list[int]]] = []
    for one in found:
        views = []
        for weight in _VIEWS:
            how = linker.how if weight is None else Vote(**{**vars(linker.how), "lexical": weight})
            views.append(dict(linker.names.ballot.shares(one.names, one.similar(how), how)))
        first = dict.fromkeys(
            code for view in views for code in list(view)[:KEPT]
        )  # shares come with the largest first
        votes.append((views, list(first)))
    best: dict[int, list[tuple[float, int]]] = {}
    for mention, (views, kept) in enumerate(votes):
        for code in kept:
            best.setdefault(code, []).append((views[0].get(code, 0.0), mention))
    made = []
    for mention, ((views, kept), one, (start, end, sure)) in enumerate(zip(votes, found, places, strict=True)):
        row = linker.names.mention.get(normalised(text[start:end]))
        exact = {} if row is None else linker.names.entries[row]
        total = sum(exact.values())
        place = {int(name): at for at, name in enumerate(one.names)}
        shares = views[0]
        top = max(shares.values(), default=0.0)
        spelled = {code: linker.names.codes[code] for code in kept}
        for code in kept:
            mine, word = shares.get(code, 0.0), spelled[code]
            family = {other: shares.get(other, 0.0) for other in kept if spelled[other][:3] == word[:3]}
            others = [value for other, value in family.items() if other != code]
            at = place.get(linker.names.official.get(code, -1))
            prior = linker.priors
            known = [
                *(_log(view.get(code, 0.0)) for view in views),
                mine,
                exact.get(code, 0.0) / total if total else 0.0,
                np.log1p(total),
                0.0 if at is None else float(one.lexical[at]),
                0.0 if at is None else float(one.dense[at]),
                sure,
                len(best[code]),
                np.log(len(places)),
                _log(max((value for value, other in best[code] if other != mention), default=0.0)),
                _log(
                    sum(value for other, value in family.items() if spelled[other] == word[:3])
                    if len(word) > 3
                    else 0.0
                ),
                _log(max((value for other, value in family.items() if spelled[other][:4] == f"{word}."), default=0.0)),
                _log(max(others, default=0.0)),
                _log(sum(family.values())),
                _log(top),
                float(sum(value > mine for value in shares.values())),
                np.log1p(prior.code[code]),
                np.log1p(prior.family[word[:3]]),
                prior.code[code] / max(1.0, prior.family[word[:3]]),
                float(len(word) == 3),
                float(len(word) == 7),
                np.log1p(prior.children[word]),
                float(word.endswith(".9")),
                float(word.endswith(".8")),
                np.log(max(1, end - start)),
            ]
            made.append(Candidate(mention, code, mine, np.array(known, np.float32)))
    return made


def _log(share: float) -> float:
    return float(np.log(max(share, 1e-3)))


class Judge(torch.nn.Module):
    """A network of two layers over standardised features, whose output is the logit of the code being there."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(FEATURES, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, hidden), torch.nn.GELU(),
            torch.nn.Linear(hidden, 1),
        )  # fmt: skip

    mean: torch.Tensor
    scale: torch.Tensor

    def forward(self, known: torch.Tensor) -> torch.Tensor:
        """Logits (n,) of features (n, FEATURES)."""
        logits: torch.Tensor = self.layers((known - self.mean) / self.scale)[:, 0]
        return logits

    @torch.no_grad()
    def probabilities(self, known: np.ndarray) -> np.ndarray:
        """Of features (n, FEATURES): (n,)."""
        found: np.ndarray = torch.sigmoid(self(torch.from_numpy(known))).numpy()
        return found

    def learn(self, known: np.ndarray, right: np.ndarray, *, epochs: int = 12, seed: int = 0) -> None:
        """From features (n, FEATURES) and whether the code was there (n,)."""
        torch.manual_seed(seed)
        for layer in self.layers:
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()
        x, y = torch.from_numpy(known), torch.from_numpy(right.astype(np.float32))
        self.mean.copy_(x.mean(0))
        self.scale.copy_(x.std(0).clamp_min(1e-3))
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=0.02)
        total = epochs * -(-len(x) // 512)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=generator).split(512):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(self(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
