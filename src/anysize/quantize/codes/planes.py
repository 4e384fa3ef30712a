"""
Bit planes: the bits of all codes of a weight, most significant first, each plane packed eight codes to a byte.

A narrower width is a prefix of the planes, so a file that stores each as its own tensor is read only so far.
Any-Precision LLM (Park et al. 2024) stores weights so for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def pack(codes: torch.Tensor, c: int) -> list[torch.Tensor]:
    """Codes (rows, features) of `c` bits -> c planes, uint8 (rows, ceil(features / 8)), highest bit and code first."""
    values = codes.to(torch.uint8).cpu().numpy()
    return [torch.from_numpy(np.packbits((values >> (c - 1 - place)) & 1, axis=1)) for place in range(c)]


def unpack(planes: Sequence[torch.Tensor], features: int, c: int) -> torch.Tensor:
    """The first planes -> codes uint8 (rows, features); bits of planes that are not given are 0."""
    codes: torch.Tensor | None = None
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=planes[0].device)
    for place, plane in enumerate(planes):
        bits = ((plane[:, :, None] >> shifts) & 1).reshape(plane.shape[0], -1)[:, :features]
        shifted = bits << (c - 1 - place)
        codes = shifted if codes is None else codes | shifted
    assert codes is not None
    return codes
