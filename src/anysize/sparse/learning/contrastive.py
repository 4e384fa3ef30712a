"""
The contrastive loss over the codes of CSR (Wen et al. 2025, arXiv 2503.01776): non-negative codes, compared by cosine.

With one frozen vector per item its two views are the same, so ``self`` only pushes different items apart; ``pair`` and
``label`` also pull together what belongs together.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import cross_entropy, normalize

from anysize.sparse.learning.recipe import Recipe
from anysize.sparse.learning.selecting import Selected
from anysize.sparse.rows.stored import SparseBatch


def contrastive(selected: Selected, batch: SparseBatch, recipe: Recipe) -> torch.Tensor:
    """The loss over the codes of a batch, by what the recipe calls positive."""
    entries = selected.entries
    dense = selected.values.new_zeros(entries.n, entries.width)
    codes = normalize(dense.index_put((entries.rows, entries.latents), selected.values), dim=1, eps=1e-8)
    if recipe.positives == "pair":
        half = entries.n // 2  # anchors first, their partners after them
        return pair_loss(codes[:half], codes[half:], recipe.temperature)
    if recipe.positives == "label":
        assert batch.labels is not None
        return label_loss(codes, batch.labels, recipe.temperature)
    return self_loss(codes, recipe.temperature)


def self_loss(codes: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE of 2n anchors, each item twice: its other self is the positive, all other items (twice) negatives."""
    logits = codes @ codes.T / temperature
    doubled = logits + math.log(2) * (1 - torch.eye(len(codes), dtype=logits.dtype, device=logits.device))
    return cross_entropy(doubled, torch.arange(len(codes), device=codes.device))


def pair_loss(anchors: torch.Tensor, positives: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy from each anchor to its partner among all partners of the batch."""
    return cross_entropy(anchors @ positives.T / temperature, torch.arange(len(anchors), device=anchors.device))


def label_loss(codes: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, equation 2): items of one class are each other's positives."""
    logits = codes @ codes.T / temperature
    myself = torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    same = (labels[:, None] == labels[None, :]) & ~myself
    scores = logits - torch.logsumexp(logits.masked_fill(myself, -math.inf), dim=1, keepdim=True)
    counts = same.sum(1)
    found = -(scores * same).sum(1) / counts.clamp_min(1)
    return found.sum() / (counts > 0).sum().clamp_min(1)
