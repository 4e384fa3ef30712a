"""Autoencoders with random weights, so that tests of what is done with them need no training; and rows for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from anysize.core.sizes.nesting import Nesting
from anysize.sparse import SparseAutoencoder

WIDTH, LATENTS, ACTIVE = 12, 40, 6


def random_sae(
    activation: str = "topk", nesting: Nesting | None = None, *, seed: int = 0, scale: float = 2.5, **options: Any
) -> SparseAutoencoder:
    """Random weights, an input that is centred and scaled, a threshold that cuts."""
    nesting = nesting or Nesting(latents=(8, 20, LATENTS))
    active = ACTIVE if activation in ("topk", "batchtopk") and "active" not in nesting.axes else None
    options = {"latents": LATENTS, "active": active, **options}
    sae = SparseAutoencoder(nesting, WIDTH, activation=activation, **options)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in sae.parameters():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=random))
        sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
        sae.mean.copy_(torch.randn(WIDTH, generator=random))
        sae.scale.fill_(scale)
        if activation == "batchtopk":
            sae.threshold.fill_(3.0)
        if activation == "jumprelu":
            sae.threshold.copy_(torch.rand(LATENTS, generator=random))
    return sae.eval()


def inputs(count: int = 60, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def features(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Rows that are sums of a few of many directions, as activations are thought to be."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((3 * width, width))
    codes = (rng.random((count, 3 * width)) < 0.06) * (0.5 + rng.random((count, 3 * width)))
    return (codes @ truth + 0.05 * rng.standard_normal((count, width))).astype(np.float32)
