"""Codes ordered by strength, for the levels of MSAE (arXiv 2502.20578) and CSR (arXiv 2503.01776)."""

from __future__ import annotations

import torch

from anysize.sparse.autoencoder.entries import starts


def strongest_first(rows: torch.Tensor, values: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The order that puts each row's largest value first, and the rank (from 0) of each entry in that order.

    `rows` (entries,) is non-decreasing, below n. Of equal values the earlier entry comes first.
    """
    by_value = torch.argsort(values, descending=True, stable=True)
    order = by_value[torch.argsort(rows[by_value], stable=True)]
    begins = starts(torch.bincount(rows, minlength=n))
    return order, torch.arange(len(order), device=order.device) - begins[rows]


def rank_in_row(rows: torch.Tensor, values: torch.Tensor, n: int) -> torch.Tensor:
    """The rank (from 0, the largest value) of each entry within its row, where the entries stand."""
    order, rank = strongest_first(rows, values, n)
    found = torch.empty_like(rank)
    found[order] = rank
    return found
