"""
How much each latent matters (progressive coding, Peter and Sogaard 2025, arXiv 2505.00190, section 3).

The paper's measures are the mean squared activation, here ``energy`` with the length of the dictionary row counted in,
and the firing ``frequency``. Ours beside them: ``contribution``, by how much the error grows without that latent alone,
and ``greedy``, the order in which latents most reduce what is left of the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch

from anysize.core.arguments import ROWS, one_of, takes
from anysize.core.errors import AnysizeError, DataError
from anysize.sparse.codes import Codes
from anysize.sparse.decoding import decode_sum
from anysize.sparse.model import SparseAutoencoder

Measure = Literal["energy", "frequency", "contribution", "greedy"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
_ROWS = 8192
_WIDEST = 16_384
"""Latents up to which `greedy` keeps its table of every pair (1 GB of float32)."""


@takes(x=ROWS, by=one_of(MEASURES))
def importance(sae: SparseAutoencoder, x: Any, by: Measure = "energy") -> torch.Tensor:
    """
    Scores (latents,) float64 of this view's latents over rows (n, d), which may be a memory map; larger is better.

    Rows pass by in batches and sums are kept in double precision. Raises `DataError` if there are no rows,
    `AnysizeError` for another measure, or for `greedy` over more than 16,384 latents.
    """
    if not len(x):
        raise DataError("there are no rows to measure importance on")
    if by == "greedy":
        return _greedy(sae, x)
    total = torch.zeros(sae.latents, dtype=torch.float64)
    dictionary = sae.W_dec[: sae.latents].detach()
    lengths = dictionary.double().square().sum(1)  # (F,)
    for target, codes in _batches(sae, x):
        values = codes.values.double()
        found = torch.ones_like(values) if by == "frequency" else values.square() * lengths[codes.indices]
        if by == "contribution":
            left = target - decode_sum(codes, dictionary)
            found += 2 * values * (left[codes.rows] * dictionary[codes.indices]).sum(1).double()
        total.index_add_(0, codes.indices, found)
    return total / len(x)


def _batches(sae: SparseAutoencoder, x: Any) -> Iterator[tuple[torch.Tensor, Codes]]:
    """What is left to rebuild of standardised rows once the bias is there, and their codes."""
    for start in range(0, len(x), _ROWS):
        rows = np.asarray(x[start : start + _ROWS])
        yield (sae.standardize(rows) - sae.b_dec).detach(), sae.encode(rows)


def _greedy(sae: SparseAutoencoder, x: Any) -> torch.Tensor:
    """
    Matching pursuit over whole columns of codes: scores are places, the first chosen having the highest.

    Adding latent f to a set changes the squared error by ``G_ff - 2 b_f + 2 sum_g G_fg``, with
    ``G = (Z^T Z) * (W W^T)`` and ``b_f = sum_i z_if x_i . W_f``; G is formed once and holds all that later steps need.
    """
    latents = sae.latents
    if latents > _WIDEST:
        raise AnysizeError(f"greedy compares all pairs of {latents} latents, too many; use contribution instead")
    dictionary = sae.W_dec[:latents].detach()
    gains, together = torch.zeros(latents, dtype=torch.float64), np.zeros((latents, latents), np.float32)
    for target, codes in _batches(sae, x):
        aligned = (target[codes.rows] * dictionary[codes.indices]).sum(1).double() * codes.values.double()
        gains.index_add_(0, codes.indices, aligned)
        matrix = codes.to_scipy()
        pairs = (matrix.T @ matrix).tocoo()
        together[pairs.row, pairs.col] += pairs.data
    table = torch.from_numpy(together) * (dictionary @ dictionary.T)
    score = 2 * gains - table.diagonal().double()
    places, left = torch.zeros(latents, dtype=torch.float64), score.clone()
    for place in range(latents):
        best = int(left.argmax())
        places[best] = latents - place
        left -= 2 * table[best].double()
        left[places > 0] = -torch.inf
    return places / latents
