"""Beams that the elements of a panel can send: of unit norm, and with phase shifters alone also of one amplitude."""

from __future__ import annotations

import torch

TINY = 1e-12


def made_of(free: torch.Tensor, hardware: str) -> torch.Tensor:
    """Beams (k, elements) of unit norm of free numbers (k, elements, 2); for ``phase`` hardware, of their phases."""
    if hardware == "phase":
        free = free / free.norm(dim=2, keepdim=True).clamp_min(TINY)
    return torch.view_as_complex(free / free.flatten(1).norm(dim=1)[:, None, None].clamp_min(TINY))
