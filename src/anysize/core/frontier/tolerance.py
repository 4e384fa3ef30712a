"""How much quality may be lost: a share of that at full size, or, of a metric in decibels, so many of these."""

from __future__ import annotations

import re

from anysize.core.errors import AnysizeError


class Decibels(float):
    """A loss in dB, of a metric whose name ends in ``_db``: such values have no shares."""


def tolerance(text: str) -> float:
    """``1%`` or ``0.01``, or `Decibels` of ``0.5dB``. Raises `AnysizeError` for anything else."""
    found = re.fullmatch(r"(\d*\.?\d+)\s*(%?|[dD][bB])", text.strip())
    if found and found[2].lower() == "db":
        return Decibels(found[1])
    share = float(found[1]) / (100 if found[2] else 1) if found else 1.0
    if not share < 1:
        raise AnysizeError(
            f"{text!r} is not a share of quality; write it like 1% or 0.01, below 100%, or of a metric in dB like 0.5dB"
        )
    return share


def lowest(full: float, within: float, metric: str) -> float:
    """The least goodness that a tolerance allows below the full size's. Raises `AnysizeError` if it does not fit."""
    if isinstance(within, Decibels):
        if not in_decibels(metric):
            raise AnysizeError(f"{metric} is not in dB; say what share of it may be lost, like 1%")
        return full - within
    if not 0 <= within < 1:
        raise AnysizeError(f"within is the share of quality that may be lost, from 0 to below 1; got {within}")
    return full - within * abs(full)


def in_decibels(metric: str) -> bool:
    """Whether a metric's values are dB, so that differences count and shares mean nothing."""
    return metric.endswith("_db")


def usual(metric: str) -> float:
    """What is taken where nobody says: 1 %, of a metric in dB half of one."""
    return Decibels(0.5) if in_decibels(metric) else 0.01


def tolerated(within: float) -> str:
    """As people write it: ``1 %``, ``0.5 dB``."""
    return f"{within:g} dB" if isinstance(within, Decibels) else f"{100 * within:.4g} %"
