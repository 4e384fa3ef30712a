"""
From pre-activations to sparse codes: ReLU, TopK (Gao et al. 2024), BatchTopK and JumpReLU, at inference.

BatchTopK (Bussmann et al. 2024) couples the samples of a batch; at inference it is a JumpReLU with one threshold.
TopK chooses among signed pre-activations and then applies ReLU, so fewer than k may remain.
"""

from __future__ import annotations

from typing import Literal

import torch

from anysize.sparse.autoencoder.codes import Codes

Activation = Literal["relu", "topk", "batchtopk", "jumprelu"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "topk", "batchtopk", "jumprelu")


def above(pre: torch.Tensor, threshold: torch.Tensor) -> Codes:
    """What is positive and above the threshold: scalar or one for each latent. `pre` is (n, m)."""
    rows, indices = (pre > threshold.clamp_min(0)).nonzero(as_tuple=True)
    return Codes.of_entries(rows, indices, pre[rows, indices], *pre.shape)


def strongest(pre: torch.Tensor, active: float) -> Codes:
    """The positive ones of each row's `active` largest. `pre` is (n, m)."""
    if active >= pre.shape[1]:
        return Codes.of_dense(pre)
    values, indices = pre.topk(int(active), dim=1)
    indices, order = indices.sort(dim=1)
    values = values.gather(1, order)
    rows, places = (values > 0).nonzero(as_tuple=True)
    return Codes.of_entries(rows, indices[rows, places], values[rows, places], *pre.shape)
