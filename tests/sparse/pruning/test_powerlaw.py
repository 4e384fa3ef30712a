"""The power law of importance: found where it is, told from what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from anysize.core.errors import DataError
from anysize.sparse.pruning.powerlaw import fit_power_law

RNG = np.random.default_rng(1)


def test_the_line_is_least_squares_over_the_ranks_that_are_said():
    scores = np.concatenate([5 * np.arange(1, 1001.0) ** -0.75, np.zeros(200)])
    RNG.shuffle(scores)
    found = fit_power_law(scores)
    assert found.slope == pytest.approx(-0.75)
    assert np.exp(found.intercept) == pytest.approx(5)
    assert (found.r2, found.first, found.last, found.live) == (pytest.approx(1), 10, 800, 1000)


@pytest.mark.parametrize(
    ("draw", "better", "worse"),
    [
        (lambda n: RNG.pareto(1.5, n) + 1, "power law", "exponential"),
        (lambda n: RNG.exponential(1, n) + 0.01, "exponential", "power law"),
        (lambda n: RNG.lognormal(0, 0.6, n), "lognormal", "power law"),
    ],
)
def test_likelihood_tells_families_apart(draw, better, worse):
    rivals = {rival.name: rival for rival in fit_power_law(draw(2000)).rivals}
    assert set(rivals) == {"exponential", "lognormal", "stretched exponential"}
    rival = rivals[worse if better == "power law" else better]
    assert rival.verdict == better
    assert rival.p < 0.05


def test_a_true_power_law_is_never_beaten():
    for rival in fit_power_law(RNG.pareto(2.0, 3000) + 1).rivals:
        assert rival.verdict in ("power law", "undecided")


def test_the_exponential_fit_is_scipys_truncated_one():
    """The best member of a family, cut off at both ends, against a fit by scipy of the same likelihood."""
    from scipy.optimize import minimize_scalar

    from anysize.sparse.pruning.powerlaw import _densities

    sample = np.sort(RNG.exponential(2, 500) + 1)
    low, high = sample.min(), sample.max()

    def worse(rate: float) -> float:
        mass = (np.exp(-rate * low) - np.exp(-rate * high)) / rate
        return float(-np.sum(-rate * sample - np.log(mass)))

    best = minimize_scalar(worse, bounds=(1e-3, 10), method="bounded").fun
    assert -_densities(sample, "exponential").sum() == pytest.approx(best, rel=1e-4)


def test_too_little_to_fit_is_refused():
    with pytest.raises(DataError, match="expected 20"):
        fit_power_law(np.arange(1, 20))
    with pytest.raises(DataError, match="falling"):
        fit_power_law(np.ones(500))
