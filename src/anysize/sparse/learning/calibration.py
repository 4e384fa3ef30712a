"""
The one threshold that BatchTopK uses at inference: the value at which held-out rows have the wanted L0.

Public trainers keep a running mean of the smallest selected activation, an extreme statistic from which the realised
L0 drifts by several percent; the quantile of held-out pre-activations has no such error.
"""

from __future__ import annotations

import math

import torch

from anysize.core.errors import AnysizeError
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.learning.selecting import select_batch


@torch.no_grad()
def threshold_for(sae: SparseAutoencoder, rows: torch.Tensor, active: float, *, latents: int | None = None) -> float:
    """The threshold at which rows (n, d) have on average `active` of the first `latents` latents; 0 if they cannot."""
    m = sae.latents if latents is None else latents
    return _cut(sae, rows, active, torch.ones_like(sae.threshold[:m]))


def _cut(sae: SparseAutoencoder, rows: torch.Tensor, active: float, units: torch.Tensor) -> float:
    """What pre-activations, each in its latent's unit (m,), must exceed for `active` of the first m latents."""
    m = len(units)
    if not 0 < active <= m:
        raise AnysizeError(f"a target of {active} active latents does not fit a dictionary of {m}")
    x = sae.standardize(rows) - sae.b_dec
    # Somewhat more than are wanted, so that the threshold can lie between two values.
    pieces = (x, sae.W_enc[:, :m] / units, sae.b_enc[:m] / units)
    found = select_batch(*pieces, math.ceil(active) + 1, together=False).values.double()
    wanted = round(active * len(rows))
    if len(found) <= wanted:
        return 0.0
    ordered = found.sort(descending=True).values
    return float((ordered[wanted - 1] + ordered[wanted]) / 2) if wanted else float(ordered[0])


@torch.no_grad()
def calibrate(sae: SparseAutoencoder, rows: torch.Tensor, active: float) -> SparseAutoencoder:
    """
    Set the threshold so that `rows` have `active` latents on average. Thresholds that differ keep their proportions.

    Raises `AnysizeError` for relu and topk.
    """
    if sae.activation not in ("batchtopk", "jumprelu"):
        raise AnysizeError(f"{sae.activation} codes have no threshold to calibrate")
    here = sae.threshold[: sae.latents]
    if bool((here == here[0]).all()):
        sae.threshold.fill_(threshold_for(sae, rows, active))
    else:
        sae.threshold.mul_(_cut(sae, rows, active, here.clamp_min(1e-6 * float(here.max()))))
    return sae
