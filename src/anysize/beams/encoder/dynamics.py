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
from anysize.beams.codebooks.model import TX_DBM, NestedCodebook
from anysize.beams.codebooks.reports import beam_report, measured
from anysize.beams.encoder.model import SSBEncoder
from anysize.core.arguments import number, takes, whole
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


@takes(steps=whole(), leave=number(0), there=number(0), seed=whole(0))
def loop(
    encoder: SSBEncoder | NestedCodebook,
    channels: Channels,
    *,
    steps: int | None = None,
    leave: float = 0.1,
    there: float = 0.5,
    miss_dbm: float = -np.inf,
    seed: int = 0,
) -> list[Step]:
    """
    Sweeps of one drop's links at the encoder's size: the first with its `first` book, then with the books it makes; or
    always with the same book, if it is one.

    At each step a user who is there leaves with the probability `leave`, and as many others join. A link whose
    strongest beam lies below `miss_dbm` does not report. If the links are of users who move (`Channels.steps`), the
    sweeps follow their positions, as many as there are; else there are 10. Raises `DataError` for shares outside 0 to
    1, or more `steps` than users who move have positions.
    """
    if not 0 <= leave <= 1 or not 0 < there < 1:
        raise DataError(f"leave is a share from 0 to 1 and there one between; got {leave} and {there}")
    moments = channels.moments()
    steps = (len(moments) if len(moments) > 1 else 10) if steps is None else steps
    if len(moments) == 1:
        moments *= steps
    if steps > len(moments):
        raise DataError(f"{steps} sweeps of users who move over {len(moments)} positions; ask for at most so many")
    users = len(moments[0])
    draw, book = np.random.default_rng(seed), encoder.first if isinstance(encoder, SSBEncoder) else encoder
    found: list[Step] = []
    present = draw.permutation(users) < max(1, round(there * users))
    reported = np.zeros(users, bool)
    for now in moments[:steps]:
        gap = (decibels(book.sweep(now).gain) - decibels(now.bound)).numpy()
        joined = present & ~reported if reported.any() else np.zeros_like(present)
        rows = torch.from_numpy(np.flatnonzero(present))
        report = beam_report(measured(now.rows[rows], now.power[rows], book.beams.detach(), TX_DBM), miss_dbm=miss_dbm)
        bits = report.bits * int(report.detected().sum())
        found.append(Step(float(gap[present].mean()), float(gap[joined].mean()) if joined.any() else None, bits))
        if isinstance(encoder, SSBEncoder):
            book = encoder.next_book(report, book.beams.detach())
        reported = present.copy()
        gone = present & (draw.random(users) < leave)
        outside = draw.permutation(np.flatnonzero(~present))[: gone.sum()]
        present[np.flatnonzero(gone)[: len(outside)]] = False
        present[outside] = True
    return found
