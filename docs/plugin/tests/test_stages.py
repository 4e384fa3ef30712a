"""The tests that a package brings: what every nested model promises, and what this one is for."""

from __future__ import annotations

import numpy as np
import pytest
from anysize_stages.method import Stages
from anysize_stages.rows import learnt

import anysize as az


@pytest.fixture(scope="module")
def data() -> az.Data:
    """Vectors about 20 centres."""
    random = np.random.default_rng(0)
    centres = 2 * random.standard_normal((20, 8))
    return az.read(centres[random.integers(0, 20, 600)] + 0.5 * random.standard_normal((600, 8)))


@pytest.fixture(scope="module")
def model(data):
    return Stages(stages=(1, 2, 4), entries=16).fit(data)


def test_it_keeps_every_promise_of_a_nested_model(model, data):
    az.testing.check_nested_model(model, learnt(data)[:9], shape=lambda size: (9, 8))


def test_each_stage_explains_more_and_learning_beats_random_rows(model, data):
    frontier = az.measure(model, data, arms=["random", "single"])
    nested, random, single = (frontier.arm(name) for name in ("nested", "random", "single"))
    explained = [record.metrics["explained variance"] for record in nested]
    assert explained == sorted(explained)
    assert all(one > other.metrics["explained variance"] for one, other in zip(explained, random, strict=True))
    assert [record.bytes for record in nested] == [1, 2, 4]
    assert [record.size for record in single] == [record.size for record in nested]


def test_the_metric_is_the_share_of_variance(model, data):
    x, view = data.corpus.vectors[4::5], model.at(stages=2)
    rebuilt = view.decode(view.encode(x)).detach().numpy()
    expected = 1 - np.square(rebuilt - x).sum() / np.square(x - data.corpus.vectors.mean(0)).sum()
    found = az.measure(model, data, sizes=[az.Size(stages=2)], arms=[]).arm("nested")[0]
    assert found.metrics["explained variance"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("method", "words"),
    [({"entries": 1}, "from 2 to 256"), ({"stages": (2, 1)}, "increas"), ({"epochs": 0}, "above zero")],
)
def test_what_cannot_be_learnt_is_refused_in_a_sentence(data, method, words):
    with pytest.raises(az.AnysizeError, match=words):
        Stages(**method).fit(data)
