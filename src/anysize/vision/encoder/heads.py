"""Heads from labels at every size: a class for each picture, told apart by every prefix of one linear map (MRL-E)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch.nn import functional

from anysize.core.losses.nested import nested_loss, told
from anysize.core.losses.prefix import prefix_similarities
from anysize.core.sizes.nesting import Nesting

Labels = Literal["cosine", "linear"]


class ClassHead(torch.nn.Module):
    """
    A linear map (dims, width) and a row for each class, while they learn: cross-entropy at every prefix, averaged.

    ``cosine`` compares directions, times `scale`, which is what k-NN and retrieval will do with the vectors; ``linear``
    has inner products and a bias a size (MRL-E, Kusupati et al. 2022, section 3, with tied weights).
    """

    def __init__(self, weight: torch.Tensor, classes: int, nesting: Nesting, scale: float, labels: Labels) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.rows = torch.nn.Parameter(torch.randn(classes, len(weight)) * len(weight) ** -0.5)
        self.biases = torch.nn.Parameter(torch.zeros(len(nesting), classes))
        self.nesting, self.scale, self.labels = nesting, scale, labels

    def logits(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """(n, classes) at every size, of features (n, width)."""
        found = prefix_similarities(
            vector @ self.weight.T, self.rows, self.nesting.values("dims"), normalize=self.labels == "cosine"
        )
        if self.labels == "cosine":
            return [self.scale * one for one in found]
        return [one + bias for one, bias in zip(found, self.biases, strict=True)]

    def forward(self, vector: torch.Tensor, place: torch.Tensor) -> dict[str, Any]:
        """``{"loss": ...}`` of features (n, width) and classes (n,)."""
        by_size = {
            size: functional.cross_entropy(one, place.long())
            for size, one in zip(self.nesting, self.logits(vector), strict=True)
        }
        loss = nested_loss(self.nesting, by_size.__getitem__, reduction="mean").total
        return {"loss": loss, **told(self, by_size)}
