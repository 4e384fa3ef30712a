"""
Users who come and go: sweep, report, make the next book, sweep again (section 2.4 of the brief of SSB-Encoder).

The paper does not say how often users leave; a tenth of them at each step is our choice, and half of a drop's users are
there at a time. A user who joins gave no report, and must be served by what others reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.codebooks.gains import decibels
from anysize.beams.codebooks.model import TX_DBM
from anysize.beams.codebooks.reports import beam_report, measured
from anysize.beams.encoder.model import SSBEncoder
from anysize.core.errors import DataError


@dataclass(frozen=True)
class Step:
    """One sweep: how far users are below their bounds, on average in dB."""

    present: float
    """All who are there."""
    joined: float | None
    """Those who were not there when the reports were made; None if nobody joined."""
    bits: int
    """What all users fed back after this sweep."""


def loop(
    encoder: SSBEncoder,
    channels: Channels,
    *,
    steps: int = 10,
    leave: float = 0.1,
    there: float = 0.5,
    miss_dbm: float = -np.inf,
    seed: int = 0,
) -> list[Step]:
    """
    Sweeps of one drop's links at the encoder's size: the first with its `first` book, then with the books it makes.

    At each step a user who is there leaves with the probability `leave`, and as many others join. A link whose
    strongest beam lies below `miss_dbm` does not report. Raises `DataError` for shares outside 0 to 1.
    """
    if not 0 <= leave <= 1 or not 0 < there < 1:
        raise DataError(f"leave is a share from 0 to 1 and there one between; got {leave} and {there}")
    draw, book, found = np.random.default_rng(seed), encoder.first, []
    present = draw.permutation(len(channels)) < max(1, round(there * len(channels)))
    reported = np.zeros(len(channels), bool)
    for _ in range(steps):
        gap = (decibels(book.sweep(channels).gain) - decibels(channels.bound)).numpy()
        joined = present & ~reported if reported.any() else np.zeros_like(present)
        rows = torch.from_numpy(np.flatnonzero(present))
        powers = measured(channels.rows[rows], channels.power[rows], book.beams.detach(), TX_DBM)
        report = beam_report(powers, miss_dbm=miss_dbm)
        bits = report.bits * int(report.detected().sum())
        found.append(Step(float(gap[present].mean()), float(gap[joined].mean()) if joined.any() else None, bits))
        book, reported = encoder.next_book(report, book.beams.detach()), present.copy()
        gone = present & (draw.random(len(channels)) < leave)
        outside = draw.permutation(np.flatnonzero(~present))[: gone.sum()]
        present[np.flatnonzero(gone)[: len(outside)]] = False
        present[outside] = True
    return found
