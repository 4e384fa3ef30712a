"""
What a base station knows of its users after a sweep, drawn in beam space (SSB-Encoder, ``observation_from_beams``).

Each beam's pattern over a grid of directions, times what was reported of it, summed over the beams: a picture of where
the users are, as seen through the beams that were swept. The authors stack a picture a beam; the sum does not depend on
how many were swept, so one network reads them all. Their min-max scaling, which cancels itself in the released code, is
meant as it is here: powers from 0 to 1 over one set of reports.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.reports import Report, check_indices

GRID = 12
PICTURES, FACTS = 3, 4
_EDGE = 5 * math.pi / 24


def patterns(panel: Panel, beams: torch.Tensor) -> torch.Tensor:
    """Power of beams (k, elements) over a grid of directions, (k, GRID, GRID), each of unit norm."""
    angles = _EDGE + (torch.arange(GRID) + 0.5) / GRID * (math.pi - 2 * _EDGE)
    across, down = (
        torch.exp(1j * math.pi * torch.outer(angles.cos(), torch.arange(n))) for n in (panel.columns, panel.rows)
    )
    grid = beams.unflatten(1, (panel.columns, panel.rows))
    found = torch.einsum("ac,kcr,br->kab", across.conj(), grid, down.conj()).abs().square()
    return found / found.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-12)


def observe(panel: Panel, beams: torch.Tensor, report: Report) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Pictures (3, GRID, GRID) and facts (4,) of one set of reports on swept beams (k, elements).

    The pictures: how many chose each beam, how strongly they hear it, and where the sweep looked. The facts: how many
    reported, mean and spread of their powers, and how many beams there were. Raises `DataError` for an index that the
    book does not have.
    """
    check_indices(report.index, len(beams))
    seen = report.detected()
    index, power = report.index[seen, 0], report.rsrp[seen, 0]
    low, high = (power.min(), power.max()) if len(power) else (torch.tensor(0.0), torch.tensor(1.0))
    scaled = (power - low) / (high - low).clamp_min(1.0)
    many = max(1, len(power))
    users = torch.bincount(index, minlength=len(beams)) / many
    strength = torch.bincount(index, scaled, minlength=len(beams)) / many
    looked = torch.full((len(beams),), 1 / len(beams))
    pictures = torch.einsum("pk,kab->pab", torch.stack([users, strength, looked]).float(), patterns(panel, beams))
    spread = power.std(correction=0) if len(power) else torch.tensor(0.0)
    mean = power.mean() if len(power) else torch.tensor(-92.0)
    facts = [math.log2(1 + len(power)) / 8, (float(mean) + 92) / 48, float(spread) / 24, math.log2(len(beams)) / 6]
    return pictures, torch.tensor(facts, dtype=torch.float32)


def halves(drops: np.ndarray) -> np.ndarray:
    """Of each link a group (drop and half): what one half of a drop's links report makes the book of the other."""
    found = np.zeros(len(drops), int)
    for number, drop in enumerate(np.unique(drops)):
        own = np.flatnonzero(drops == drop)
        found[own] = 2 * number + np.arange(len(own)) % 2
    return found
