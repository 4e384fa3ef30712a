"""Array gains: how much of a link's power a beam collects, against one element alone."""

from __future__ import annotations

import torch

_AT_ONCE = 1 << 24  # values of one block of products


def gains(rows: torch.Tensor, beams: torch.Tensor) -> torch.Tensor:
    """
    Array gain (links, k) of beams (k, elements) complex over the rows (links, m, 2, elements) of `Channels.rows`.

    ``sum over rows |row w|^2``, in one real product. Differentiable in `beams`. The largest there can be is the number
    of elements.
    """
    links, m, _, elements = rows.shape
    flat = rows.reshape(links, m, 2 * elements)
    real, imag = beams.real.T, beams.imag.T  # (elements, k)
    weights = torch.cat([torch.cat([real, imag], 1), torch.cat([-imag, real], 1)])  # (2 elements, 2 k)
    step = max(1, links if torch.is_grad_enabled() else _AT_ONCE // max(1, m * weights.shape[1]))
    parts = [(flat[start : start + step] @ weights).square().sum(1) for start in range(0, links, step)]
    found = torch.cat(parts) if parts else flat.new_zeros(0, weights.shape[1])
    return found[:, : len(beams)] + found[:, len(beams) :]


def decibels(values: torch.Tensor) -> torch.Tensor:
    """``10 log10``, of nothing -300."""
    return 10 * values.clamp_min(1e-30).log10()
