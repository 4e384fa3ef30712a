"""Small autoencoders with random weights, and rows with a spectrum for them to read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from anysize.core.sizes.nesting import Nesting
from anysize.sparse import SparseAutoencoder

WIDTH, LATENTS = 6, 16


def filled(nesting: Nesting, *, seed: int = 0, **options: Any) -> SparseAutoencoder:
    """An autoencoder of width 6 whose every tensor is random."""
    sae = SparseAutoencoder(nesting, WIDTH, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (sae.W_enc, sae.W_dec, sae.b_enc, sae.b_dec, sae.mean):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
        sae.scale.fill_(1.7)
        if options.get("activation") in ("batchtopk", "jumprelu"):
            sae.threshold.copy_(torch.rand(sae.threshold.shape, generator=generator) * 0.3)
    return sae.eval()


def rows(count: int = 40, width: int = WIDTH, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def features(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Rows that are sums of a few of many directions, as activations are thought to be."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((3 * width, width))
    codes = (rng.random((count, 3 * width)) < 0.06) * (0.5 + rng.random((count, 3 * width)))
    return (codes @ truth + 0.05 * rng.standard_normal((count, width))).astype(np.float32)
