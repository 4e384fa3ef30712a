"""
A trained autoencoder, sorted by importance and cut (progressive coding, Peter and Sogaard 2025, arXiv 2505.00190).

Latents depend on the input one by one and the decoder is a sum, so that any order of them is the same autoencoder and
the first of a good order are a smaller one. What is lost with the rest is their mean, which the bias takes over.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from anysize.core.arguments import ROWS, many, number, takes, whole
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.learning.calibration import calibrate
from anysize.sparse.pruning.importance import Measure, importance

_PER_LATENT = {"W_enc": 1, "b_enc": 0, "W_dec": 0, "threshold": 0}
"""What belongs to a latent, and along which axis: all of it moves when latents do."""
_ROWS = 8192


@dataclass(frozen=True)
class Pruned:
    """A smaller autoencoder, and where its latents stood in the one it was cut from."""

    sae: SparseAutoencoder
    kept: tuple[int, ...]
    """New place -> old place, the most important first."""


def in_order(scores: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Places from the highest score to the lowest; equal ones as they stood."""
    return torch.argsort(torch.as_tensor(scores), descending=True, stable=True)


def sort_by_importance(sae: SparseAutoencoder, scores: torch.Tensor, levels: Sequence[int] | None = None) -> Pruned:
    """The same autoencoder with its latents in order of importance, nested at `levels`, or as it was."""
    order = in_order(scores)
    if levels is None:
        levels = sae.nesting.values("latents") if "latents" in sae.nesting.axes else (sae.latents,)
    return Pruned(_taken(sae, order, levels), tuple(order.tolist()))


@takes(latents=whole() | many(whole(), "a list of numbers of latents"), x=ROWS, active=number(above=0))
def prune(
    sae: SparseAutoencoder,
    latents: int | Sequence[int],
    x: Any,
    *,
    by: Measure = "energy",
    scores: torch.Tensor | None = None,
    refit_bias: bool = True,
    active: float | None = None,
) -> Pruned:
    """
    The most important `latents` of an autoencoder, as one of its own; several numbers give it these levels.

    `x` are rows (n, d), of the training data and not held out. Codes that go by a threshold get the one at which
    `active` latents fire on average, by default as many as before; TopK chooses anew among those kept. Then the bias
    takes over what the kept latents leave out on average. Raises `SizeError` for more latents than there are, levels
    that do not grow, or more active ones than are kept, `AnysizeError` for `active` where codes have no threshold, and
    `DataError` if no latent fires.
    """
    levels = (latents,) if isinstance(latents, int) else tuple(latents)
    Nesting(latents=levels)
    if levels[-1] > sae.latents:
        raise SizeError(f"latents={levels[-1]} cannot be kept of {sae.latents}; ask for fewer")
    if active not in (None, sae.active) and sae.activation not in ("batchtopk", "jumprelu"):
        raise AnysizeError(f"{sae.activation} codes have no threshold that active={active:g} could set; leave it out")
    if active is not None and not 0 < active <= levels[-1]:
        raise SizeError(f"active={active:g} does not fit the {levels[-1]} latents that are kept")
    order = in_order(importance(sae, x, by) if scores is None else scores)[: levels[-1]]
    small = _taken(sae, order, levels)
    # Where thresholds differ from latent to latent, they are left as they are unless a number is asked for.
    one_threshold = bool((small.threshold == small.threshold[0]).all())
    if small.activation in ("batchtopk", "jumprelu") and (one_threshold or active is not None):
        wanted = active if active is not None else mean_active(sae, x)
        if not wanted:
            raise DataError("no latent fires on these rows, so none matters more than another; check what they hold")
        calibrate(small, torch.from_numpy(sample(x)), min(wanted, levels[-1]))
    if refit_bias:
        fit_bias(small, x)
    small.about = {
        "method": "prune",
        "options": {
            **_reading(sae),
            "by": by if scores is None else "given",
            "refit_bias": refit_bias,
            "active": active,
        },
        "cut_from": {"fingerprint": sae.fingerprint, "latents": sae.latents, "about": sae.about},
        "kept": order.tolist(),
        "rows": len(x),
    }
    return Pruned(small, tuple(order.tolist()))


@torch.no_grad()
def fit_bias(sae: SparseAutoencoder, x: Any) -> None:
    """
    Move ``b_dec`` by the mean of what is left to rebuild, which no other bias betters, and leave the codes as they are.

    ``b_dec`` is also taken off the input, so ``b_enc`` gives back what the codes would lose by that.
    """
    total = torch.zeros(sae.width, dtype=torch.float64)
    for start in range(0, len(x), _ROWS):
        rows = np.asarray(x[start : start + _ROWS])
        total += (sae.standardize(rows) - sae.standardize(sae(rows))).double().sum(0)
    shift = (total / len(x)).to(sae.b_dec)
    sae.b_dec.add_(shift)
    sae.b_enc.add_(shift @ sae.W_enc)


def mean_active(sae: SparseAutoencoder, x: Any) -> float:
    """Active latents per row, on average over rows (n, d)."""
    starts = range(0, len(x), _ROWS)
    return sum(len(sae.encode(np.asarray(x[start : start + _ROWS])).indices) for start in starts) / len(x)


def sample(x: Any, most: int = 1 << 15) -> np.ndarray:
    """At most so many rows (n, d), evenly spread, as float32 in memory."""
    return np.array(x[:: max(1, -(-len(x) // most))], np.float32)


def _reading(sae: SparseAutoencoder) -> dict[str, Any]:
    """How texts become what an autoencoder reads, which cutting it does not change."""
    options = sae.about.get("options", {})
    return {name: options[name] for name in ("model", "site", "max_length") if name in options}


def _taken(sae: SparseAutoencoder, order: torch.Tensor, levels: Sequence[int]) -> SparseAutoencoder:
    """The latents at `order`, in that order, nested at `levels` and at the active levels that fit in."""
    nested: dict[str, Sequence[int]] = {"latents": levels}
    if "active" in sae.nesting.axes:
        nested["active"] = sorted({min(level, levels[-1]) for level in sae.nesting.values("active")})
    active = None if "active" in nested else sae.active
    small = SparseAutoencoder(Nesting(**nested), sae.width, activation=sae.activation, active=active)
    with torch.no_grad():
        for name, tensor in sae.state_dict().items():
            axis = _PER_LATENT.get(name)
            getattr(small, name).copy_(tensor if axis is None else tensor.index_select(axis, order))
    small.about = copy.deepcopy(sae.about)
    return small.eval()
