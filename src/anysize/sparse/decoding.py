"""Sparse decoding: a code's reconstruction is the sum of its few dictionary rows, at every size from one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import embedding_bag

from anysize.sparse.codes import Codes


def decode_sum(codes: Codes, dictionary: torch.Tensor) -> torch.Tensor:
    """``z @ W_dec`` of codes over the rows of a dictionary (at least `codes.width`, d): (n, d), without bias."""
    return _bags(codes.indices, codes.values, codes.offsets[:-1], dictionary)


def decode_prefixes(codes: Codes, dictionary: torch.Tensor, latents: Sequence[int]) -> torch.Tensor:
    """
    ``z[:, :m] @ W_dec[:m]`` for every m of `latents` (increasing): (sizes, n, d), for one full decode.

    Each row's entries fall into blocks between the sizes; the blocks' sums are added up along the sizes.
    """
    stops = torch.tensor(tuple(latents), device=codes.indices.device)
    inside = codes.prefix(int(stops[-1])) if codes.width > int(stops[-1]) else codes
    bags = inside.rows * len(stops) + torch.searchsorted(stops, inside.indices, right=True)
    return _running_sums(inside, bags, len(stops), dictionary)


def decode_ranks(codes: Codes, dictionary: torch.Tensor, active: Sequence[int]) -> torch.Tensor:
    """The reconstructions of each row's k strongest entries, for every k of `active` (increasing): (sizes, n, d)."""
    by_value = torch.argsort(codes.values, descending=True, stable=True)
    order = by_value[torch.argsort(codes.rows[by_value], stable=True)]
    rank = torch.arange(len(order), device=order.device) - codes.offsets[codes.rows]
    keep = rank < active[-1]
    stops = torch.tensor(tuple(active), device=order.device)
    ranked = Codes.of_entries(
        codes.rows[keep], codes.indices[order][keep], codes.values[order][keep], len(codes), codes.width
    )
    bags = ranked.rows * len(stops) + torch.searchsorted(stops, rank[keep], right=True)
    return _running_sums(ranked, bags, len(stops), dictionary)


def _running_sums(codes: Codes, bags: torch.Tensor, sizes: int, dictionary: torch.Tensor) -> torch.Tensor:
    n = len(codes)
    starts = torch.zeros(n * sizes + 1, dtype=torch.int64, device=bags.device)
    torch.cumsum(torch.bincount(bags, minlength=n * sizes), 0, out=starts[1:])
    blocks = _bags(codes.indices, codes.values, starts[:-1], dictionary)
    return blocks.view(n, sizes, dictionary.shape[1]).transpose(0, 1).cumsum(0)


def _bags(indices: torch.Tensor, values: torch.Tensor, starts: torch.Tensor, dictionary: torch.Tensor) -> torch.Tensor:
    weights = values.to(dictionary.dtype)
    return embedding_bag(indices, dictionary, starts, mode="sum", per_sample_weights=weights)
