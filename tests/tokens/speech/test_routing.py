"""Choices of routers, counted by hand; how far scales are apart; a model without routers is refused."""

import numpy as np
import pytest

from anysize.core.errors import AnysizeError
from anysize.tokens.speech.clips import Clip
from anysize.tokens.speech.routing import Routing, divergence, routing, shuffled
from anysize.tokens.speech.scaled.scales import Scale
from tests.tiny_speech import film, noise, tiny_speech
from tests.tokens.speech.scaled.test_experts import made

CLIPS = [Clip(noise(0.7, 1), film(0.7, 1)), Clip(noise(0.4, 2), film(0.4, 2))]


def test_choices_are_those_of_the_tokens_of_one_kind_in_any_batch():
    model = made()
    read = model.read(CLIPS)
    found = routing(model, read, Scale(4, 5))
    assert found.chosen.shape == (2, 9 + 5, 2)  # layers, tokens of both clips, k
    assert routing(model, read, Scale(16, 5), "video").chosen.shape == (2, 4 + 2, 2)
    assert np.array_equal(routing(model, read, Scale(4, 5), batch_size=1).chosen, found.chosen)
    assert found.shares.sum(1) == pytest.approx([1, 1])
    assert found.dead == sum(expert not in layer for layer in found.chosen for expert in range(4))
    assert ((found.entropy > 0) & (found.entropy <= np.log(4) + 1e-6)).all()
    assert not model.adapters.recording
    with pytest.raises(AnysizeError, match="this model has no routers; fit it by --method mome"):
        routing(tiny_speech(), read, Scale(4, 5))


def test_shares_that_are_alike_are_not_apart_and_those_that_share_nothing_are_log_two_apart():
    one, other = np.array([[0.5, 0.5, 0.0]]), np.array([[0.0, 0.0, 1.0]])
    assert divergence(one, one) == 0
    assert divergence(one, other) == pytest.approx(np.log(2))
    half = divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))
    assert half == pytest.approx(0.5 * (np.log(1 / 0.75) + 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)))
    kept = Routing(np.array([[[0, 1], [0, 2], [0, 1]]]), np.array([1.0]), 3)
    assert sorted(shuffled(kept).shares[0]) == pytest.approx(sorted(kept.shares[0]))
