from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.vision import RASA, position_probe_r2, spatial_entropy


def placed(pictures=40, rows=5, columns=4, width=24, seed=0):
    """Tokens in which several directions, not at right angles, say where a patch lies, some of them crookedly."""
    draw = np.random.default_rng(seed)
    down, across = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    said = np.stack([down, across, down**2, across * down, np.sin(3 * down), np.cos(4 * across)], -1).reshape(-1, 6)
    tokens = draw.standard_normal((pictures, rows * columns, width)) @ draw.standard_normal((width, width)) * 0.2
    return (tokens + said @ draw.standard_normal((6, width))).astype(np.float32)


def sequential(rasa, tokens):
    """Each step as the paper writes it."""
    for row, column in rasa.components_.double():
        tokens = tokens - (tokens @ row)[..., None] * row - (tokens @ column)[..., None] * column
    return tokens


@pytest.mark.parametrize("solver", ["ridge", "sgd", "erase"])
@pytest.mark.parametrize("orthogonal", [True, False], ids=["orthogonal", "official"])
def test_the_matrix_is_every_step_in_order(solver, orthogonal):
    tokens = placed()
    rasa = RASA(4, solver=solver, orthogonal=orthogonal, stop=None, lr=2e-2, epochs=3, batch_size=8).fit(tokens, (5, 4))
    wanted = sequential(rasa, torch.from_numpy(tokens).double())
    found = rasa.transform(tokens)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy(), atol=2e-5)
    layer = rasa.to_linear()
    np.testing.assert_allclose(layer(torch.from_numpy(tokens)).detach().numpy(), wanted.numpy(), atol=2e-5)
    consumer = torch.nn.Linear(24, 7)
    with torch.no_grad():
        apart = consumer(wanted.float())
        torch.testing.assert_close(rasa.merge_into(consumer)(torch.from_numpy(tokens)), apart, atol=2e-5, rtol=1e-4)
    steps = len(rasa.components_)
    assert steps == (1 if solver == "erase" else 4)
    assert len(rasa.position_r2_) == steps + 1
    flat = rasa.components_.flatten(0, 1)
    if orthogonal:
        torch.testing.assert_close(flat @ flat.T, torch.eye(2 * steps), atol=1e-5, rtol=0)
        torch.testing.assert_close(rasa.matrix_, rasa.matrix_.T, atol=1e-5, rtol=0)
    elif solver == "sgd":  # the trap: what an earlier step took out comes back in part
        assert float((flat @ flat.T - torch.eye(2 * steps)).abs().max()) > 0.05
        assert float((rasa.matrix_ - rasa.matrix_.T).abs().max()) > 0.01


def test_position_goes_and_random_directions_do_not_take_it():
    tokens = placed(80, width=48)
    before = position_probe_r2(tokens, (5, 4))
    assert before > 0.9
    for solver, options in (("ridge", {}), ("erase", {}), ("sgd", {"lr": 5e-2, "epochs": 40, "batch_size": 8})):
        rasa = RASA(12, solver=solver, **options).fit(tokens, (5, 4))
        most = 0.25 if solver == "sgd" else 0.1  # whose head has no bias, and is not the probe that judges
        assert position_probe_r2(rasa.transform(tokens), (5, 4)) < most, solver
        assert rasa.position_r2_[0] > 0.9
        assert rasa.position_r2_[-1] < most, (solver, rasa.position_r2_)
        kept = rasa.transform(tokens)
        assert np.linalg.norm(kept - kept.mean((0, 1))) > 0.5 * np.linalg.norm(tokens - tokens.mean((0, 1)))
    random = np.linalg.qr(np.random.default_rng(1).standard_normal((48, 24)))[0]
    assert position_probe_r2(tokens - tokens @ random @ random.T, (5, 4)) > 0.8


def test_the_probe_is_that_of_scikit_learn():
    tokens = placed(9, seed=3)
    places = np.stack(np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 1, 4), indexing="ij"), -1).reshape(-1, 2)
    fit, judge = tokens[::2].reshape(-1, 24).astype(float), tokens[1::2].reshape(-1, 24).astype(float)
    load = 1e-3 * fit.var(0).mean() * len(fit)
    probe = Ridge(alpha=load).fit(fit, np.tile(places, (5, 1)))
    assert position_probe_r2(tokens, (5, 4)) == pytest.approx(probe.score(judge, np.tile(places, (4, 1))), abs=1e-6)


def test_it_stops_once_a_probe_knows_little():
    tokens = placed(80)
    rasa = RASA(8, solver="ridge", stop=0.3).fit(tokens, (5, 4))
    assert len(rasa.components_) < 8
    assert rasa.position_r2_[-1] < 0.3 <= rasa.position_r2_[-2]


def test_clusters_that_keep_to_places_have_little_entropy():
    fixed = np.tile(np.arange(6), (10, 1))
    assert spatial_entropy(fixed, (2, 3)) == 0
    shifted = np.stack([np.roll(np.arange(6), step) for step in range(6)])
    assert spatial_entropy(shifted, (2, 3)) == pytest.approx(1)
    half = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])  # 0: 2/3 and 1/3; 1: 1/5, 2/5, 2/5
    one, other = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)), -(0.2 * np.log(0.2) + 0.8 * np.log(0.4))
    assert spatial_entropy(half) == pytest.approx((one + other) / 2 / np.log(4))


def test_wrong_tokens_are_told_in_a_sentence():
    with pytest.raises(DataError, match=r"17 tokens are no grid of 4 x 4 patches; leave out class and register"):
        RASA().fit(np.zeros((3, 17, 24)), 4)
    with pytest.raises(DataError, match="15 tokens are no square"):
        RASA().fit(np.zeros((3, 15, 24)))
    with pytest.raises(DataError, match="a grid of 1 x 8 patches tells no place"):
        RASA().fit(np.zeros((3, 8, 24)), (1, 8))
    with pytest.raises(DataError, match="1 picture is too few"):
        RASA().fit(placed(1), (5, 4))
    with pytest.raises(DataError, match="NaN"):
        RASA().fit(np.full((3, 4, 24), np.nan))
    with pytest.raises(SizeError, match="13 planes are more"):
        RASA(13, solver="ridge").fit(placed(), (5, 4))
    with pytest.raises(AnysizeError, match="call fit"):
        RASA().transform(placed())
    rasa = RASA(2).fit(placed(), (5, 4))
    with pytest.raises(SizeError, match="reads 8 features; expected 24"):
        rasa.merge_into(torch.nn.Linear(8, 2))
    with pytest.raises(SizeError, match="width 8"):
        rasa.transform(np.zeros((2, 8), np.float32))
