"""The links that the rows on beams are about: drops to learn from, and other drops to measure on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anysize as az
from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.channels.drawing import Drawn, keep
from anysize.beams.codebooks.gains import decibels

SIZES = (4, 8, 16, 32, 64)
LEARNT, HELD = 1200, 600
DATA = (
    "Sionna 2.2.0, 3GPP TR 38.901 {}, 3.5 GHz, 8 x 8 panel, 2 receive antennas, 4 frequencies; per seed 1,200 links in "
    "12 drops to learn from and 600 in 6 other drops to measure on"
)


def links(scenario: str, seed: int, count: int, cache: Path) -> Channels:
    """So many links in drops of 100, drawn with a seed and kept."""
    file = cache / f"{scenario}-{count}-{seed}.npz"
    if not file.exists():
        keep(Drawn(scenario, count, seed=seed), file)
    return channels_of(az.read(file))


def learnt_and_held(scenario: str, seed: int, cache: Path) -> tuple[Channels, Channels]:
    """What one seed learns from and what it is measured on: other drops of the same kind of sector."""
    return links(scenario, 100 + seed, LEARNT, cache), links(scenario, 200 + seed, HELD, cache)


def gap(view: Any, channels: Channels) -> float:
    """
    How far the beams that links take from a book, a tree or an encoder lie from their own best, in dB.

    The mean over links, below 0.
    """
    swept = view.sweep(channels)
    return float((decibels(swept.gain) - decibels(channels.bound)).mean())
