"""The chooser against scikit-learn's regression, and what it picks."""

import numpy as np
import pytest

from anysize.core.errors import DataError
from anysize.tokens.chooser import Chooser

RNG = np.random.default_rng(0)
MARGINS = RNG.exponential(2.0, 500)
CORRECT = RNG.random((500, 3)) < np.stack(
    [1 / (1 + np.exp(-(MARGINS * slope + start))) for slope, start in ((1.5, -2.0), (0.5, 0.0), (0.0, 2.0))], 1
)


def test_it_is_a_logistic_regression_for_each_budget():
    linear = pytest.importorskip("sklearn.linear_model")
    chooser = Chooser.fit(MARGINS, CORRECT, (1, 4, 16))
    for place in range(3):
        plain = linear.LogisticRegression(C=1e6).fit(MARGINS[:, None], CORRECT[:, place])
        assert chooser.slopes[place] == pytest.approx(plain.coef_[0, 0], abs=0.01)
        assert chooser.intercepts[place] == pytest.approx(plain.intercept_[0], abs=0.02)
    expected = plain.predict_proba(MARGINS[:5, None])[:, 1]
    np.testing.assert_allclose(chooser.chances(MARGINS[:5])[:, 2], expected, atol=0.01)


def test_sure_answers_take_few_tokens():
    chooser = Chooser.fit(MARGINS, CORRECT, (1, 4, 16))
    assert chooser.pick(np.array([0.0, 8.0])) == [16, 1]
    assert Chooser.from_json(chooser.to_json()) == chooser
    spent = [np.mean(Chooser.fit(MARGINS, CORRECT, (1, 4, 16), within).pick(MARGINS)) for within in (0.0, 0.1, 0.5)]
    assert spent[0] > spent[1] > spent[2]


def test_answers_that_are_all_alike_stay_finite():
    chooser = Chooser.fit(MARGINS, np.ones((500, 2)), (1, 4))
    assert np.isfinite(chooser.slopes).all()
    assert set(chooser.pick(MARGINS)) == {1}


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="teach no choice among 3 budgets"):
        Chooser.fit(MARGINS[:5], CORRECT[:5], (1, 4, 16))
