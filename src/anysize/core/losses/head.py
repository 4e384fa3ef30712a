"""
Training the nested head: a linear map over frozen features whose every prefix is a good embedding.

With pairs, in-batch softmax at every size (MRL, Kusupati et al. 2022, equation 1, with InfoNCE as the loss). With
vectors alone, every prefix learns to keep each vector's neighbourhood: its softmax over the batch follows that of
the untouched vectors, and no label is needed. Where labelled queries are few, both are learnt together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from anysize.core.losses.nested import NestedTerms, nested_loss, told
from anysize.core.losses.prefix import nested_info_nce, prefix_similarities
from anysize.core.sizes.nesting import Nesting


def as_tensor(rows: np.ndarray) -> torch.Tensor:
    """A float32 tensor of the rows; a copy where they may not be written to (a memory-mapped file)."""
    return torch.from_numpy(np.require(rows, np.float32, ["C", "W"]))


class HeadRows(torch.utils.data.Dataset):
    """Aligned rows of several matrices as dicts; `None` columns are left out."""

    def __init__(self, **columns: np.ndarray | None) -> None:
        self.columns = {name: as_tensor(column) for name, column in columns.items() if column is not None}

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        return [self[index] for index in indices]


class PairHead(torch.nn.Module):
    """
    The head while it learns from pairs: InfoNCE over cosine similarities at every size.

    With `corpus` features (n, in_features), each step also draws as many of them as it has pairs and keeps their
    neighbourhoods, `keep` times as strongly: where labelled queries are few, they alone would bend the whole space.
    """

    corpus: torch.Tensor

    def __init__(self, weight: torch.Tensor, nesting: Nesting, scale: float, corpus: torch.Tensor, keep: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.nesting, self.scale, self.keep = nesting, scale, keep
        self.register_buffer("corpus", corpus, persistent=False)

    def forward(
        self,
        anchor: Float[torch.Tensor, "n d"],
        positive: Float[torch.Tensor, "n d"],
        **negatives: Float[torch.Tensor, "n d"],
    ) -> Any:
        """Anchors, positives and any negatives of shape (batch, in_features); the loss averages the sizes by weight."""
        # Another document that answers the same query counts as a negative like any other.
        documents = torch.cat([positive, *negatives.values()])
        losses = nested_info_nce(
            anchor @ self.weight.T, documents @ self.weight.T, self.nesting.values("dims"), scale=self.scale
        )
        by_size = dict(zip(self.nesting, losses, strict=True))
        loss = nested_loss(self.nesting, by_size.__getitem__, reduction="mean").total
        if self.keep and len(self.corpus):
            drawn = self.corpus[torch.randint(len(self.corpus), (len(anchor),), device=self.corpus.device)]
            loss = loss + self.keep * kept_neighbourhoods(drawn, self.weight, self.nesting, self.scale).total
        return {"loss": loss, **told(self, by_size)}


class NeighbourHead(torch.nn.Module):
    """The head while it learns from vectors alone: keep each row's softmax over the rest of the batch."""

    def __init__(self, weight: torch.Tensor, nesting: Nesting, scale: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.nesting, self.scale = nesting, scale

    def forward(self, vector: Float[torch.Tensor, "n d"]) -> Any:
        """Vectors of shape (batch, in_features)."""
        found = kept_neighbourhoods(vector, self.weight, self.nesting, self.scale)
        return {"loss": found.total, **told(self, found.terms)}


def kept_neighbourhoods(
    vectors: Float[torch.Tensor, "n d"], weight: Float[torch.Tensor, "k d"], nesting: Nesting, scale: float
) -> NestedTerms:
    """
    How far each prefix's softmax over the other rows is from that of the untouched vectors: a mean KL divergence.

    `vectors` is (batch, in_features), `weight` (dims, in_features). The teacher is the vectors' own cosine matrix,
    not the head's largest size, so that the head cannot drift away with its teacher.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    with torch.no_grad():
        unit = functional.normalize(vectors, dim=-1)
        teacher = functional.softmax((scale * unit @ unit.T).masked_fill(itself, -torch.inf), dim=-1)
    z = vectors @ weight.T
    students = dict(zip(nesting, prefix_similarities(z, z, nesting.values("dims")), strict=True))

    def divergence(size: Any) -> torch.Tensor:
        logits = (scale * students[size]).masked_fill(itself, -torch.inf)
        log_student = functional.log_softmax(logits, dim=-1).masked_fill(itself, 0.0)
        return functional.kl_div(log_student, teacher, reduction="batchmean")

    return nested_loss(nesting, divergence, reduction="mean")
