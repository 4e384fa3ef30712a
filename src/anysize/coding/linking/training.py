"""
Learning to bring a mention near the names of its code, at every prefix.

BioSyn (Sung et al., ACL 2020): the marginal likelihood of all names of the code among candidates that the encoder finds
nearest, refreshed every epoch. SapBERT (Liu et al., NAACL 2021): multi-similarity over hard pairs. Both are averaged
over prefixes of unit length, as the nested objective has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from anysize.coding.linking.encoder import MentionEncoder
from anysize.core.losses.nested import nested_loss
from anysize.core.losses.prefix import prefix_similarities
from anysize.core.progress import bar
from anysize.core.sizes.nesting import Nesting

Loss = Literal["marginal", "multi-similarity"]
_NEAR, _TAKEN, _RANDOM = 30, 4, 1024


@dataclass(frozen=True)
class Pool:
    """Names to learn from: dictionary rows first, then mentions, each with its code."""

    texts: Sequence[str]
    codes: np.ndarray
    """A number for each code, (names,)."""
    mentions: np.ndarray
    """Which names are mentions, (mentions,)."""
    bags: Any
    features: np.ndarray | None

    def take(self, rows: np.ndarray) -> tuple[Any, np.ndarray | None]:
        """What the encoder reads of some names."""
        return None if self.bags is None else self.bags[rows], None if self.features is None else self.features[rows]


def learn(
    encoder: MentionEncoder,
    pool: Pool,
    dims: Sequence[int],
    levels: Sequence[np.ndarray],
    *,
    loss: Loss,
    epochs: int,
    learning_rate: float,
    temperature: float,
    batch: int = 256,
    seed: int = 0,
) -> list[float]:
    """
    Train in place; gives the mean loss of each epoch.

    `levels` are the codes' numbers that each of `dims` must tell apart, (names,) each: all the codes themselves, or of
    shorter prefixes their categories and chapters.
    """
    random = np.random.default_rng(seed)
    table = {"params": [encoder.table], "lr": learning_rate}
    head = {"params": [encoder.head], "lr": learning_rate / 10}
    optimizer = torch.optim.Adam([group for group, there in ((table, encoder.ngrams), (head, encoder.width)) if there])
    nesting = Nesting(dims=tuple(dims))
    of_code = _grouped(pool.codes)
    means = []
    total = epochs * -(-len(pool.mentions) // batch)
    with bar(total, "learning to link", " steps", leave=False) as shown:
        for _ in range(epochs):
            near = nearest(encoder, pool, pool.mentions)
            losses = []
            for part in np.array_split(random.permutation(len(pool.mentions)), max(1, total // epochs)):
                rows = pool.mentions[part]
                names = _names_of(rows, near[part], pool, of_code, random)
                queries, documents = encoder(*pool.take(rows)), encoder(*pool.take(names))
                similar = prefix_similarities(queries, documents, dims)
                own = torch.from_numpy(rows[:, None] == names[None])
                same = [torch.from_numpy(level[rows][:, None] == level[names][None]) & ~own for level in levels]
                base = _marginal if loss == "marginal" else _multi_similarity
                by_size = {
                    size: base(similar[place], same[place], own, temperature) for place, size in enumerate(nesting)
                }
                terms = nested_loss(nesting, by_size.__getitem__, reduction="mean")
                optimizer.zero_grad()
                terms.total.backward()
                optimizer.step()
                losses.append(float(terms.total.detach()))
                shown.update(1)
            means.append(float(np.mean(losses)))
    return means


@torch.no_grad()
def nearest(encoder: MentionEncoder, pool: Pool, rows: np.ndarray, keep: int = _NEAR) -> np.ndarray:
    """The names nearest to each of `rows` by the encoder as it is, themselves left out, (rows, keep)."""
    every = torch.nn.functional.normalize(encoder(pool.bags, pool.features), dim=1)
    found = []
    for part in np.array_split(rows, max(1, -(-len(rows) // 512))):
        scores = every[torch.from_numpy(part)] @ every.T
        scores[torch.arange(len(part)), torch.from_numpy(part)] = -2
        found.append(scores.topk(min(keep, len(every) - 1), dim=1).indices.numpy())
    return np.concatenate(found)


def _marginal(similar: torch.Tensor, same: torch.Tensor, own: torch.Tensor, temperature: float) -> torch.Tensor:
    """-log of the share of a mention's code among all names; a mention whose code has no other name here counts not."""
    logits = (similar / temperature).masked_fill(own, -torch.inf)
    having = same.any(1)
    if not having.any():
        return similar.sum() * 0
    right = logits[having].masked_fill(~same[having], -torch.inf)
    return (logits[having].logsumexp(1) - right.logsumexp(1)).mean()


def _multi_similarity(similar: torch.Tensor, same: torch.Tensor, own: torch.Tensor, temperature: float) -> torch.Tensor:
    """
    Wang et al. (CVPR 2019), equations 11 to 15, with SapBERT's values: alpha 2, beta 50, lambda 0.5, and pairs that
    break the order by more than a margin of 0.1 alone. The `temperature` plays no part.
    """
    other = ~same & ~own
    worst = similar.detach().masked_fill(~same, torch.inf).amin(1, keepdim=True)
    best = similar.detach().masked_fill(~other, -torch.inf).amax(1, keepdim=True)
    hard_same = same & (similar.detach() - 0.1 < best)
    hard_other = other & (similar.detach() + 0.1 > worst)
    pull = (-2 * (similar - 0.5)).masked_fill(~hard_same, -torch.inf)
    push = (50 * (similar - 0.5)).masked_fill(~hard_other, -torch.inf)
    zero = similar.new_zeros(len(similar), 1)
    pulled = torch.cat([zero, pull], 1).logsumexp(1) / 2
    pushed = torch.cat([zero, push], 1).logsumexp(1) / 50
    return (pulled + pushed).mean()


def _names_of(
    rows: np.ndarray, near: np.ndarray, pool: Pool, of_code: dict[int, np.ndarray], random: np.random.Generator
) -> np.ndarray:
    """The names of a step: for each mention two of its code and some of its nearest, and others at random."""
    own = [random.choice(of_code[int(pool.codes[row])], 2) for row in rows]
    hard = near[np.arange(len(rows))[:, None], random.integers(0, near.shape[1], (len(rows), _TAKEN))]
    rest = random.integers(0, len(pool.codes), _RANDOM)
    return np.unique(np.concatenate([*own, hard.ravel(), rest]))


def _grouped(codes: np.ndarray) -> dict[int, np.ndarray]:
    order = np.argsort(codes, kind="stable")
    ends = np.flatnonzero(np.diff(codes[order])) + 1
    return {int(codes[part[0]]): part for part in np.split(order, ends)}
