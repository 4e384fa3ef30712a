"""
Does importance fall as a power of the rank (the dictionary power law, Peter and Sogaard 2025, arXiv 2505.00190)?

A straight line on two logarithmic axes is weak evidence, so the values between the first and the last rank are also
taken as a sample, and distributions cut off at the two ends compete for it by likelihood (Clauset et al. 2009, section
5; Vuong 1989). Importance ``s ~ r^-a`` means a power law of the values with exponent ``1 + 1 / a``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anysize.core.arguments import NUMBERS, takes, whole
from anysize.core.errors import DataError


@dataclass(frozen=True)
class Rival:
    """Another distribution beside the power law."""

    name: str
    ratio: float
    """Log-likelihood of the power law minus the rival's, over its standard deviation: above 0 speaks for the law."""
    p: float
    """How often so large a ratio comes about where both fit equally well."""

    @property
    def verdict(self) -> str:
        """Which of the two the values speak for, at 5 %."""
        return "undecided" if self.p >= 0.05 else "power law" if self.ratio > 0 else self.name


@dataclass(frozen=True)
class PowerLaw:
    """The line of log importance against log rank, the ranks that it was laid through, and how rivals fare."""

    slope: float
    intercept: float
    r2: float
    first: int
    last: int
    """Ranks from 1, both counted in."""
    live: int
    """Latents of any importance at all."""
    rivals: tuple[Rival, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, with each rival's verdict."""
        rivals = [{**asdict(rival), "verdict": rival.verdict} for rival in self.rivals]
        return {**asdict(self), "rivals": rivals}


@takes(scores=NUMBERS, first=whole())
def fit_power_law(scores: Any, *, first: int = 10, last: float = 0.8) -> PowerLaw:
    """
    Fit importance scores (F,) over the ranks from `first` to the share `last` of the live ones, dead ones left out.

    Raises `DataError` if fewer than 20 ranks are left, or they do not fall.
    """
    values = np.sort(np.asarray(scores, np.float64))[::-1]
    values = values[values > 0]
    stop = int(last * len(values))
    kept = values[first - 1 : stop]
    if len(kept) < 20 or not kept[0] > kept[-1]:
        raise DataError(
            f"{len(values)} live latents leave {len(kept)} ranks to fit; expected 20, of falling importance"
        )
    x, y = np.log(np.arange(first, stop + 1)), np.log(kept)
    slope, intercept = np.polyfit(x, y, 1)
    left = y - (slope * x + intercept)
    r2 = 1 - left @ left / np.sum(np.square(y - y.mean()))
    # In units of the smallest value, so that no density is too small or too large for the optimiser.
    sample = kept / kept[-1]
    law = _densities(sample, "power law")
    rivals = tuple(_rival(name, law, _densities(sample, name)) for name in _FAMILIES if name != "power law")
    return PowerLaw(float(slope), float(intercept), float(r2), first, stop, len(values), rivals)


def _rival(name: str, law: np.ndarray, other: np.ndarray) -> Rival:
    """Vuong's test on the log densities that the two give to each value."""
    apart = law - other
    spread = apart.std() * math.sqrt(len(apart))
    ratio = float(apart.sum() / spread) if spread > 0 else 0.0
    return Rival(name, ratio, math.erfc(abs(ratio) / math.sqrt(2)))


# Each family: log of an unnormalised density, and where the search for its parameters begins. Cut off at both ends, a
# density's mass there is found by integrating it, so that a family is one line.
Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
_FAMILIES: dict[str, tuple[Shape, list[float]]] = {
    "power law": (lambda v, p: -p[0] * np.log(v), [2.0]),
    "exponential": (lambda v, p: -np.exp(p[0]) * v, [0.0]),
    "lognormal": (lambda v, p: -np.log(v) - np.square(np.log(v) - p[0]) / (2 * np.exp(2 * p[1])), [0.0, 0.5]),
    "stretched exponential": (
        lambda v, p: (np.exp(p[1]) - 1) * np.log(v) - np.exp(p[0]) * np.power(v, np.exp(p[1])),
        [0.0, 0.0],
    ),
}


def _densities(sample: np.ndarray, family: str) -> np.ndarray:
    """The log density that a family's best member, cut off at the sample's ends, gives to each value."""
    from scipy.optimize import minimize

    shape, start = _FAMILIES[family]
    grid = np.geomspace(sample.min(), sample.max(), 2001)

    def logs(parameters: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            heights = shape(grid, parameters)
            top = heights.max()
            mass = np.trapezoid(np.exp(heights - top), grid)
            found = shape(sample, parameters) - top - np.log(mass)
        return np.where(np.isfinite(found), found, -1e6)

    best = minimize(lambda p: -logs(p).mean(), np.array(start), method="Nelder-Mead", options={"maxiter": 2000})
    return logs(best.x)
