"""Principal directions of a set of vectors: the cheapest way to make them shorter, and the rival called ``pca``."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

_ROWS = 1 << 15


def principal_rows(features: Float[np.ndarray, "n d"], dims: int) -> Float[torch.Tensor, "{dims} d"]:
    """
    The leading principal directions of unit-length features (uncentred), shape (dims, in_features).

    A rotation: with all rows it keeps every cosine, and its prefixes are the best linear ones in the least-squares
    sense. The start of every head, and the rival called ``pca``.
    """
    squares = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for start in range(0, len(features), _ROWS):  # a block at a time: they may be a mapped file
        block = torch.from_numpy(np.require(features[start : start + _ROWS], np.float32, ["C", "W"])).double()
        block /= block.norm(dim=-1, keepdim=True).clamp_min(1e-12)  # in place: the block is the most that is held
        squares += block.T @ block
        del block
    _, vectors = torch.linalg.eigh(squares / max(1, len(features)))
    rows = vectors.flip(-1)[:, :dims].T
    # Fix the signs, which the decomposition leaves open, so that equal data give equal heads.
    signs = torch.sign(rows.gather(1, rows.abs().argmax(dim=1, keepdim=True)))
    return (rows * signs).float().contiguous()
