"""
What users report of a sweep, and how many bits that takes.

The index of the best beam (SSBRI) takes ceil(log2 K) bits. Its power (L1-RSRP, TS 38.133) takes 7: steps of 1 dB from
-140 to -44 dBm; that of each further beam 4, in steps of 2 dB below the best (TS 38.214, 5.2.1.4.3), of at most four.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from anysize.beams.codebooks.gains import decibels, gains
from anysize.core.arguments import takes, whole
from anysize.core.errors import DataError, SizeError

RSRP_BITS, FURTHER_BITS, MOST = 7, 4, 4
_LOW, _HIGH, _STEP, _FURTHER_STEP = -140.0, -44.0, 1.0, 2.0


def index_bits(beams: int) -> int:
    """Bits that name one of so many beams; at least one, since a report is sent at all."""
    return max(1, math.ceil(math.log2(beams)))


@dataclass(frozen=True)
class Swept:
    """What a sweep comes to for each link."""

    index: torch.Tensor
    """(links,) which of `beams` it takes."""
    gain: torch.Tensor
    """(links,) array gain of that beam."""
    beams: torch.Tensor
    """(k, elements) complex, or (groups, k, elements) where each link's `group` has a book of its own."""
    bits: int
    """Of the index that a user feeds back."""
    slots: int
    """Beams that are sent one after the other until a user can report."""
    group: torch.Tensor | None = None

    def taken(self) -> torch.Tensor:
        """Each link's beam, (links, elements)."""
        return self.beams[self.index] if self.group is None else self.beams[self.group, self.index]


@dataclass(frozen=True)
class Report:
    """The reports of n links: the best beams, best first, their powers as they are fed back, and the bits of each."""

    index: torch.Tensor
    """(n, k) places in the book; -1 where nothing was detected."""
    rsrp: torch.Tensor
    """(n, k) dBm, quantised; NaN where nothing was detected."""
    bits: int
    """Of one link's report."""

    def detected(self) -> torch.Tensor:
        """(n,) whether a link found any beam."""
        return self.index[:, 0] >= 0


@takes(best=whole())
def beam_report(power_dbm: torch.Tensor, best: int = 1, miss_dbm: float = -math.inf) -> Report:
    """
    Reports of the powers (links, beams) in dBm that users measure: the `best` strongest, up to 4.

    A link whose strongest beam lies below `miss_dbm` detects nothing. Raises `SizeError` for more than the book has.
    """
    if not 1 <= best <= min(MOST, power_dbm.shape[1]):
        raise SizeError(f"a report names 1 to {min(MOST, power_dbm.shape[1])} beams here; got {best}")
    found, index = power_dbm.topk(best, dim=1)
    first = quantised(found[:, :1], _LOW, _HIGH, _STEP)
    steps = torch.clamp(torch.floor((first - found[:, 1:]) / _FURTHER_STEP), 0, 2**FURTHER_BITS - 1)
    rsrp = torch.cat([first, first - _FURTHER_STEP * steps], dim=1)
    missed = found[:, 0] < miss_dbm
    index[missed], rsrp[missed] = -1, math.nan
    bits = best * index_bits(power_dbm.shape[1]) + RSRP_BITS + (best - 1) * FURTHER_BITS
    return Report(index, rsrp, bits)


def quantised(power_dbm: torch.Tensor, low: float = _LOW, high: float = _HIGH, step: float = _STEP) -> torch.Tensor:
    """Powers as the steps of a report say them: the lower end of a step, no less than `low` and no more than `high`."""
    return torch.clamp(torch.floor(power_dbm / step) * step, low, high)


def measured(rows: torch.Tensor, power: torch.Tensor, beams: torch.Tensor, budget_dbm: float) -> torch.Tensor:
    """The powers (links, beams) in dBm that users see of a book: array gain, the power of one element, what is sent."""
    return decibels(gains(rows, beams)) + decibels(power)[:, None] + budget_dbm


def told(report: Report) -> list[dict[str, Any]]:
    """The best beam of each link and what it takes to say so, as plain values."""
    pairs = zip(report.index[:, 0].tolist(), report.rsrp[:, 0].tolist(), strict=True)
    return [{"index": index, "rsrp_dbm": power, "bits": report.bits} for index, power in pairs]


def check_indices(index: torch.Tensor, beams: int) -> None:
    """Raise `DataError`, naming the first, if a report names a beam that the book does not have."""
    wrong = (index < -1) | (index >= beams)
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        value = int(index[tuple(place)])
        raise DataError(f"report {place[0]} (from 0) names beam {value}, and the book has beams 0 to {beams - 1}")
