"""
The evaluator ``gain``: what a sweep brings each link, against the best beam that this link could have.

Gains are averaged in dB, link by link: a mean of powers would be decided by the users who are nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.codebooks.gains import decibels
from anysize.beams.codebooks.reports import Swept
from anysize.beams.measuring.rates import multi_user, single_user
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.model.cost import Cost
from anysize.core.sizes.size import Size
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

QUANTILES = (5, 50)
"""Percentiles of the array gain in dB over links, each a metric: ``p5_db`` is that of the worst twentieth."""
GAIN = "gain_db"
_STEPS = 101


@runtime_checkable
class Sweeps(Protocol):
    """Says which beam each link takes at this view's size: a book, a tree of beams, a network that makes books."""

    size: Size

    def sweep(self, channels: Channels) -> Swept:
        """What a sweep comes to for each link."""
        ...

    def cost(self) -> Cost:
        """What this size costs."""
        ...


@dataclass(frozen=True)
class GainEvaluator(Evaluator):
    """
    Array gain of the reported beam in dB below the bound (gap_db), its percentiles, misses, rates and slots.

    The bound is each link's strongest eigenvector. Rates are of one stream (spectral_efficiency) and of several users
    at once with equal power and LMMSE receivers (sum_rate).
    """

    face = Sweeps
    needs = "channels [links, subcarriers, rx, tx]"

    snr_db: float = 0.0
    """The signal-to-noise ratio that one element alone would give each link, path loss taken out."""
    budget_db: float | None = None
    """In place of that: transmit power over noise power in dB, of which each link keeps what its path loss leaves."""
    miss_db: float = 3.0
    """A link misses whose SNR is less than this (with snr-db 0: whose array gain is)."""
    users: int = 4
    """Users that are served at once, for sum_rate."""
    averaging: str = "power"
    """Over subcarriers: power (TS 38.215), or coherent."""

    def __post_init__(self) -> None:
        if self.averaging not in ("power", "coherent"):
            raise AnysizeError(f"averaging is power or coherent; got {self.averaging!r}")
        if self.users < 1:
            raise AnysizeError(f"users must be at least 1; got {self.users}")

    def accepts(self, data: Data) -> bool:
        """Whether there are channels."""
        return data.corpus is not None and isinstance(data.corpus.rows, Channels)

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """All links; of what was learnt from, the drops that were left out."""
        channels = channels_of(data).split()[1] if held_out else channels_of(data)
        if self.averaging == "coherent":
            channels = channels.coherent()
        drops = len(np.unique(channels.drops))
        said = f"beams for {len(channels)} links of {drops} {'drop' if drops == 1 else 'drops'}"
        notes = () if drops > 1 else ("all links are of one drop, so what holds of them may not hold of other users",)
        facts = {"bound_db": float(decibels(channels.bound).mean()), "panel": str(channels.panel)}
        return Task(said, "gap_db", "links", channels, facts, notes)

    def score(self, view: Sweeps, task: Task) -> Scores:
        """A figure for each link, and rates of users together; a sweep over one link is timed."""
        channels: Channels = task.on
        swept = view.sweep(channels)
        gain, bound = decibels(swept.gain), decibels(channels.bound)
        snr = self.snr(channels)
        units = {
            "gap_db": gain - bound,
            GAIN: gain,
            "misses": (gain + snr < self.miss_db).float(),
            "spectral_efficiency": single_user(channels, swept, snr),
        }
        metrics = {
            **{f"p{share}_db": float(torch.quantile(gain, share / 100)) for share in QUANTILES},
            "sum_rate": multi_user(channels, swept, snr, self.users),
            "feedback_bits": float(swept.bits),
            "slots": float(swept.slots),
        }
        arrays = {name: value.double().numpy() for name, value in units.items()}
        ranked = np.quantile(arrays[GAIN], np.linspace(0, 1, _STEPS))
        quantiles = {GAIN: [round(float(value), 3) for value in ranked]}
        return Scores(arrays, metrics, partial(_again, view, channels[:1]), quantiles=quantiles)

    def snr(self, channels: Channels) -> torch.Tensor:
        """In dB, of one element of each link, (links,)."""
        if self.budget_db is None:
            return torch.full((len(channels),), self.snr_db)
        return self.budget_db + decibels(channels.power)


def _again(view: Any, channels: Channels) -> None:
    view.sweep(channels)
