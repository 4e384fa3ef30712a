from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from anysize.core.errors import DataError
from anysize.core.ranks import average_ranks
from anysize.evaluation.correlation import paired_bootstrap, pearson, spearman


def columns(count: int, seed: int, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated columns, with many ties where `levels` are few."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(count)
    b = a + rng.standard_normal(count)
    return (a, b) if levels is None else (np.round(a * levels), np.round(b * levels) / 7)


@pytest.mark.parametrize("count", [2, 3, 50, 1000])
@pytest.mark.parametrize("levels", [None, 1, 3])
def test_correlations_agree_with_scipy(count, levels):
    a, b = columns(count, seed=3, levels=levels)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-12)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert average_ranks(a) == pytest.approx(stats.rankdata(a))


def test_correlations_do_not_depend_on_scale_even_at_its_extremes():
    a, b = columns(100, seed=1)
    for factor in (1e-200, 1e200):
        assert pearson(a * factor, b) == pytest.approx(pearson(a, b), abs=1e-12)
    assert pearson(a, 3 * a + 1) == pytest.approx(1)
    assert spearman(a, -np.exp(a)) == pytest.approx(-1)


@pytest.mark.parametrize("correlation", [pearson, spearman])
def test_what_has_no_correlation(correlation):
    for a, b, why in (
        ([1, 1, 1], [1, 2, 3], "does not vary"),
        ([1], [2], "of 1 pairs"),
        ([], [], "of 0 pairs"),
        ([1, 2], [1, 2, 3], "same length"),
        ([1, 2], [1, float("nan")], "finite"),
        ([[1, 2]], [[1, 2]], "two lists"),
    ):
        with pytest.raises(DataError, match=why):
            correlation(a, b)


def test_the_bootstrap_finds_a_real_difference_and_not_an_absent_one():
    rng = np.random.default_rng(0)
    gold = rng.standard_normal(300)
    good, bad = gold + rng.standard_normal(300), gold + 3 * rng.standard_normal(300)
    found = paired_bootstrap(good, bad, gold)
    assert found.difference == pytest.approx(spearman(good, gold) - spearman(bad, gold))
    assert found.low < found.difference < found.high
    assert found.low > 0
    twin = gold + rng.standard_normal(300)
    assert paired_bootstrap(good, twin, gold).low < 0 < paired_bootstrap(good, twin, gold).high
    assert paired_bootstrap(good, good, gold) == (0, 0, 0)
    turned = paired_bootstrap(bad, good, gold)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_the_bootstrap_is_paired_and_seeded():
    rng = np.random.default_rng(0)
    gold = rng.standard_normal(200)
    shared = gold + rng.standard_normal(200)
    near = shared + 0.01 * rng.standard_normal(200)
    together = paired_bootstrap(shared, near, gold, resamples=300)
    apart = paired_bootstrap(shared, gold + rng.standard_normal(200), gold, resamples=300)
    assert together.high - together.low < (apart.high - apart.low) / 10
    assert paired_bootstrap(shared, near, gold, resamples=300) == together
    assert paired_bootstrap(shared, near, gold, resamples=300, seed=1) != together


def test_the_bootstrap_interval_agrees_with_scipy():
    rng = np.random.default_rng(0)
    gold = rng.standard_normal(150)
    a, b = gold + rng.standard_normal(150), gold + 1.5 * rng.standard_normal(150)

    def difference(x, y, z):
        return stats.pearsonr(x, z).statistic - stats.pearsonr(y, z).statistic

    theirs = stats.bootstrap(
        (a, b, gold), difference, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=1
    ).confidence_interval
    ours = paired_bootstrap(a, b, gold, correlation=pearson)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_draws_without_a_correlation_are_drawn_again():
    found = paired_bootstrap([1, 2, 3], [3, 1, 2], [1, 2, 4], resamples=50)
    assert np.isfinite(found).all()
    with pytest.raises(DataError, match="needs resamples"):
        paired_bootstrap([1, 2], [1, 2], [1, 2], resamples=0)
