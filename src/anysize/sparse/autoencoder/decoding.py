"""Sparse decoding: a code's reconstruction is the sum of its few dictionary rows, at every size from one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import embedding_bag

from anysize.sparse.autoencoder.codes import Codes
from anysize.sparse.autoencoder.entries import starts
from anysize.sparse.autoencoder.ranks import strongest_first


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
    order, rank = strongest_first(codes.rows, codes.values, len(codes))
    keep = rank < active[-1]
    stops = torch.tensor(tuple(active), device=order.device)
    ranked = Codes.of_entries(
        codes.rows[keep], codes.indices[order][keep], codes.values[order][keep], len(codes), codes.width
    )
    bags = ranked.rows * len(stops) + torch.searchsorted(stops, rank[keep], right=True)
    return _running_sums(ranked, bags, len(stops), dictionary)


def _running_sums(codes: Codes, bags: torch.Tensor, sizes: int, dictionary: torch.Tensor) -> torch.Tensor:
    n = len(codes)
    begins = starts(torch.bincount(bags, minlength=n * sizes))
    blocks = _bags(codes.indices, codes.values, begins, dictionary)
    return blocks.view(n, sizes, dictionary.shape[1]).transpose(0, 1).cumsum(0)


def _bags(indices: torch.Tensor, values: torch.Tensor, begins: torch.Tensor, dictionary: torch.Tensor) -> torch.Tensor:
    weights = values.to(dictionary.dtype)
    return embedding_bag(indices, dictionary, begins, mode="sum", per_sample_weights=weights)
