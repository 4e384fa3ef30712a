"""
Quality at every granularity, the first G latents of an autoencoder (progressive coding, arXiv 2505.00190, section 4).

Two readings of "the first G" differ a lot. ``mask`` encodes with all latents and drops those outside, so that fewer
remain active; ``reselect`` encodes with G latents alone and keeps the number of active ones, at G / F of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from anysize.core.errors import SizeError
from anysize.sparse.autoencoder.activations import above, strongest
from anysize.sparse.autoencoder.codes import Codes
from anysize.sparse.autoencoder.decoding import decode_prefixes, decode_sum
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.learning.calibration import threshold_for
from anysize.sparse.measuring.errors_of_rows import cosine, fvu
from anysize.sparse.measuring.geometry import rsa

Reading = Literal["mask", "reselect"]
Replace = Callable[[torch.Tensor], torch.Tensor]
Loss = Callable[[Replace], float]
"""The language model's loss while activations at the site, (rows, d), pass through a function."""


@dataclass(frozen=True)
class Granularity:
    """One row of the curve."""

    latents: int
    l0: float
    """Active latents per row, as it came out."""
    fvu: float
    cosine: float
    rsa: float | None
    """Of the reconstructions with the inputs, mean over samples of rows; None if it was not asked for."""
    rsa_codes: float | None
    """Of these codes with those of all latents."""
    recaptured: float | None = None
    """Of the loss that is lost when the site is set to zero, the share that the reconstruction brings back."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def granularity_curve(
    sae: SparseAutoencoder,
    x: np.ndarray,
    latents: Sequence[int],
    *,
    reading: Reading = "mask",
    calibrate_on: np.ndarray | None = None,
    active: float | None = None,
    loss: Loss | None = None,
    rsa_rows: int = 1000,
) -> list[Granularity]:
    """
    Quality on held-out rows `x` (n, d) at each of `latents` (increasing), which need not have been trained for.

    With ``reselect``, codes that go by a threshold get one for each size: at which `active` latents (by default as
    many as the whole has) fire on `calibrate_on`, rows that are not `x`. `rsa_rows` is 0 to leave RSA out. Raises
    `SizeError` for sizes that do not grow.
    """
    sizes = tuple(latents)
    if not sizes or any(b <= a for a, b in zip((0, *sizes), sizes, strict=False)) or sizes[-1] > sae.latents:
        raise SizeError(f"latents {list(sizes)} must be increasing, from 1 to {sae.latents}")
    whole = sae.encode(x)
    views = _views(sae, x, whole, sizes, reading, calibrate_on, active)
    dictionary = sae.W_dec.detach()
    coded = [whole.prefix(size) for size in sizes] if reading == "mask" else [view(x) for view in views]
    # Codes that are cut at each size share one decode.
    sums = (
        decode_prefixes(whole, dictionary, sizes) if reading == "mask" else (decode_sum(c, dictionary) for c in coded)
    )
    rebuilt = [_back(sae, part) for part in sums]
    shares: list[float | None] = [None] * len(sizes)
    if loss is not None:
        shares = [*recaptured(loss, [_through(sae, view) for view in views])]
    found = []
    for size, codes, vectors, share in zip(sizes, coded, rebuilt, shares, strict=True):
        alike = float(np.mean(rsa(np.asarray(x), vectors.numpy(), n=rsa_rows))) if rsa_rows else None
        inner = _rsa_codes(whole, codes, rsa_rows) if rsa_rows else None
        row = Granularity(size, codes.l0, fvu(np.asarray(x), vectors), cosine(np.asarray(x), vectors), alike, inner)
        found.append(replace(row, recaptured=share))
    return found


def recaptured(loss: Loss, replacements: Sequence[Replace]) -> list[float]:
    """
    For each replacement ``(loss at zero - loss) / (loss at zero - clean loss)``: 1 is as good as untouched.

    It saturates near 1, so report the differences of the losses beside it.
    """
    clean, zero = loss(lambda vectors: vectors), loss(torch.zeros_like)
    return [(zero - loss(replace)) / (zero - clean) for replace in replacements]


def _views(
    sae: SparseAutoencoder,
    x: np.ndarray,
    whole: Codes,
    sizes: Sequence[int],
    reading: Reading,
    calibrate_on: np.ndarray | None,
    active: float | None,
) -> list[Callable[[Any], Codes]]:
    """For each size, what encodes rows with its latents."""
    if reading == "mask":
        return [partial(_masked, sae, size) for size in sizes]
    cuts: list[float | None] = [None] * len(sizes)
    if sae.activation in ("batchtopk", "jumprelu"):
        held = torch.as_tensor(np.array(x if calibrate_on is None else calibrate_on))
        wanted = whole.l0 if active is None else active
        cuts = [threshold_for(sae, held, min(wanted, size), latents=size) for size in sizes]
    return [partial(_reselected, sae, size, cut) for size, cut in zip(sizes, cuts, strict=True)]


def _masked(sae: SparseAutoencoder, latents: int, rows: Any) -> Codes:
    return sae.encode(rows).prefix(latents)


def _reselected(sae: SparseAutoencoder, latents: int, cut: float | None, rows: Any) -> Codes:
    pre = torch.cat([sae._pre(part, latents) for part in sae._parts(rows)]).detach()
    if sae.activation == "topk":
        return strongest(pre, int(min(sae._active(sae.size) or latents, latents)))
    return above(pre, torch.tensor(cut or 0.0))


def _through(sae: SparseAutoencoder, view: Callable[[Any], Codes]) -> Replace:
    return lambda vectors: _back(sae, decode_sum(view(vectors), sae.W_dec.detach()))


def _back(sae: SparseAutoencoder, sums: torch.Tensor) -> torch.Tensor:
    return sae._unstandardize(sums + sae.b_dec.detach())


def _rsa_codes(whole: Codes, part: Codes, rows: int) -> float:
    few = torch.from_numpy(np.random.default_rng(0).choice(len(whole), min(rows, len(whole)), replace=False))
    dense = [codes.take(few).dense().numpy() for codes in (whole, part)]
    return float(np.mean(rsa(*dense, n=rows, resamples=1)))
