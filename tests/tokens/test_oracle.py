"""The oracle against counting by hand."""

import numpy as np
import pytest

from anysize.core.errors import DataError
from anysize.tokens.oracle import oracle


def test_a_few_questions_by_hand():
    correct = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0]])
    found = oracle(correct, (1, 4, 16))
    assert found.fewest.accuracy == found.most.accuracy == pytest.approx(4 / 5)
    assert found.fewest.tokens == pytest.approx((1 + 4 + 16 + 1 + 1) / 5)
    assert found.most.tokens == pytest.approx((1 + 4 + 16 + 16 + 1) / 5)
    assert (found.best_fixed.accuracy, found.best_fixed.tokens) == (pytest.approx(3 / 5), 16)
    assert found.histogram == {1: 2, 4: 1, 16: 1}


def test_luck_alone_is_what_the_control_has():
    rng = np.random.default_rng(0)
    luck = rng.random((4000, 3)) < [0.5, 0.6, 0.7]
    found = oracle(luck, (1, 4, 16))
    assert found.fewest.accuracy == pytest.approx(1 - 0.5 * 0.4 * 0.3, abs=0.02)
    assert found.control.accuracy == pytest.approx(found.fewest.accuracy, abs=0.02)
    nested = np.sort(luck, axis=1)  # what fewer tokens answer, more answer too: no luck to be had
    assert oracle(nested, (1, 4, 16)).control.accuracy > oracle(nested, (1, 4, 16)).fewest.accuracy + 0.03


def test_what_does_not_fit_is_refused():
    for marks, tokens in ((np.zeros((2, 2)), (1, 4, 16)), (np.zeros((0, 1)), (1,)), (np.zeros((2, 2)), (4, 1))):
        with pytest.raises(DataError, match="increasing budgets"):
            oracle(marks, tokens)
