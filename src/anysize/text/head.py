"""
Training the nested head: a linear map over frozen features whose every prefix is a good embedding.

With pairs, in-batch softmax at every size (MRL, Kusupati et al. 2022, equation 1, with InfoNCE as the loss). With
vectors alone, every prefix learns to keep each vector's neighbourhood: its softmax over the batch follows that of
the untouched vectors, and no label is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.core.objective import nested_loss
from anysize.core.prefix import nested_info_nce, prefix_similarities
from anysize.core.sizes import Nesting


def principal_rows(features: np.ndarray, dims: int) -> torch.Tensor:
    """
    The leading principal directions of unit-length features (uncentred), shape (dims, in_features).

    A rotation: with all rows it keeps every cosine, and its prefixes are the best linear ones in the least-squares
    sense. The start of every head, and the rival called ``pca``.
    """
    x = torch.from_numpy(np.ascontiguousarray(features)).double()
    x = functional.normalize(x, dim=-1)
    _, vectors = torch.linalg.eigh(x.T @ x / max(1, len(x)))
    rows = vectors.flip(-1)[:, :dims].T
    # Fix the signs, which the decomposition leaves open, so that equal data give equal heads.
    signs = torch.sign(rows.gather(1, rows.abs().argmax(dim=1, keepdim=True)))
    return (rows * signs).float().contiguous()


class Rows(torch.utils.data.Dataset):
    """Aligned rows of several matrices as dicts; `None` columns are left out."""

    def __init__(self, **columns: np.ndarray | None) -> None:
        self.columns = {
            name: torch.from_numpy(np.ascontiguousarray(column))
            for name, column in columns.items()
            if column is not None
        }

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        return [self[index] for index in indices]


class PairHead(torch.nn.Module):
    """The head while it learns from pairs: InfoNCE over cosine similarities at every size."""

    def __init__(self, weight: torch.Tensor, nesting: Nesting, scale: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.nesting, self.scale = nesting, scale

    def forward(self, anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor | None = None) -> Any:
        """Anchors and positives of shape (batch, in_features); the loss averages the sizes by weight."""
        documents = positive if negative is None else torch.cat([positive, negative])
        losses = nested_info_nce(
            anchor @ self.weight.T, documents @ self.weight.T, self.nesting.levels("dims"), scale=self.scale
        )
        by_size = dict(zip(self.nesting, losses, strict=True))
        return {"loss": nested_loss(self.nesting, by_size.__getitem__, reduction="mean").total}


class NeighbourHead(torch.nn.Module):
    """The head while it learns from vectors alone: keep each row's softmax over the rest of the batch."""

    def __init__(self, weight: torch.Tensor, nesting: Nesting, scale: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.nesting, self.scale = nesting, scale

    def forward(self, vector: torch.Tensor) -> Any:
        """Vectors of shape (batch, in_features); the teacher is their own cosine matrix, not the head's."""
        unit = functional.normalize(vector, dim=-1)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        with torch.no_grad():
            teacher = functional.softmax((self.scale * unit @ unit.T).masked_fill(itself, -torch.inf), dim=-1)
        z = vector @ self.weight.T
        cosines = prefix_similarities(z, z, self.nesting.levels("dims"))
        students = dict(zip(self.nesting, cosines, strict=True))

        def divergence(size: Any) -> torch.Tensor:
            logits = (self.scale * students[size]).masked_fill(itself, -torch.inf)
            log_student = functional.log_softmax(logits, dim=-1).masked_fill(itself, 0.0)
            return functional.kl_div(log_student, teacher, reduction="batchmean")

        return {"loss": nested_loss(self.nesting, divergence, reduction="mean").total}
