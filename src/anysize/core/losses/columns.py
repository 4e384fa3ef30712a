"""Losses over columns of embeddings, row beside row, that more than one family trains with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch.nn import functional


def own_column(scores: Float[torch.Tensor, "n m"]) -> torch.Tensor:
    """Mean cross-entropy of rows whose own column stands at the diagonal."""
    return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def in_batch_softmax(columns: Sequence[torch.Tensor], scale: float) -> torch.Tensor:
    """
    Cross-entropy of every anchor finding its own positive among all positives and negatives of the batch.

    `columns` are unit vectors (rows, dims): anchors, positives, perhaps negatives.
    """
    return own_column(scale * columns[0] @ torch.cat(list(columns[1:])).T)


def cosent(
    similarities: Float[torch.Tensor, " n"], labels: Shaped[torch.Tensor, " n"], temperature: float
) -> torch.Tensor:
    """
    CoSENT (Su 2022): ln(1 + sum over labels[i] > labels[j] of exp((similarities[j] - similarities[i]) / temperature)).

    Time n log n and memory n: pairs are sorted by label, so that the sum of all lower ones is a running one.
    """
    ranked, order = labels.sort(stable=True)
    scores = similarities[order].float() / temperature
    lower = torch.searchsorted(ranked.float(), ranked.float())  # how many have a smaller label
    above = lower > 0
    sums = torch.logcumsumexp(scores, dim=0)[lower[above] - 1]
    return torch.logsumexp(torch.cat([scores.new_zeros(1), sums - scores[above]]), dim=0)
