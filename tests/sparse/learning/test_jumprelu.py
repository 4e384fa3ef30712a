"""JumpReLU: the sparse kernel against a dense one, against what its gradients estimate, and in training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse import JumpReLU, calibrate, reconstruction
from anysize.sparse.formats import saelens
from anysize.sparse.learning.jumprelu import jump
from anysize.sparse.learning.kernels import StepSizes, encoded, level_errors
from anysize.sparse.learning.learner import Learner
from anysize.sparse.learning.recipe import Recipe
from anysize.sparse.learning.selecting import select_above
from anysize.sparse.rows.stored import ArrayRows, SparseBatch, is_held_out, mean_and_scale
from tests.sparse import reference
from tests.sparse.making import features

N, D, F = 24, 5, 64
LATENTS, BANDWIDTH = (8, 40, 64), 0.3


def test_losses_l0_and_all_gradients_are_those_of_the_dense_computation():
    random = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (D, F), "b_enc": (F,), "b_dec": (D,), "W_dec": (F, D)}
    held = {
        name: (0.5 * torch.randn(shape, generator=random, dtype=torch.float64)).requires_grad_()
        for name, shape in shapes.items()
    }
    log_threshold = (torch.rand(F, generator=random, dtype=torch.float64) * 2 - 2.5).requires_grad_()
    x = torch.randn(N, D, generator=random, dtype=torch.float64)
    outer = torch.tensor([0.7, 0.1, 1.3], dtype=torch.float64)
    assert float(log_threshold.detach().exp().min()) < BANDWIDTH / 2  # some windows reach below zero

    pre = reference.pre_activations(x, held["W_enc"], held["b_enc"], held["b_dec"])
    z, l0 = reference.jumprelu(pre, log_threshold, BANDWIDTH)
    wanted = reference.losses(reference.prefix_errors(z, x, held["W_dec"], held["b_dec"], LATENTS))

    centred = x - held["b_dec"].detach()
    bounds = (log_threshold.exp() - BANDWIDTH / 2).detach()
    found = select_above(centred, held["W_enc"], held["b_enc"], bounds)
    tied = encoded(found.values, found.entries, centred, held["W_enc"], held["b_enc"], held["b_dec"])
    values, count = jump(tied, log_threshold, found.entries.latents, BANDWIDTH)
    levels = StepSizes.of(found.entries, found.entries.latents, LATENTS)
    errors = level_errors(values, found.entries, levels, x, held["W_dec"], held["b_dec"])
    torch.testing.assert_close(errors.losses, wanted)
    torch.testing.assert_close(count / N, l0.mean())
    assert 0 < float(count.detach()) < len(found.values)  # some entries are near a threshold and below it

    weights = [*held.values(), log_threshold]
    ours = torch.autograd.grad(errors.losses @ outer + 0.03 * (count / N - 2).square(), weights)
    plainly = torch.autograd.grad(wanted @ outer + 0.03 * (l0.mean() - 2).square(), weights)
    torch.testing.assert_close(ours, plainly)
    assert float(ours[-1].abs().max()) > 1e-3


def test_gradients_in_the_threshold_estimate_how_means_over_many_rows_change():
    many, theta = 400_000, 0.8
    pre = torch.randn(many, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    near = pre[pre > theta - 0.05]
    log_threshold = torch.tensor([math.log(theta)], dtype=torch.float64, requires_grad=True)
    values, count = jump(near, log_threshold, torch.zeros(len(near), dtype=torch.int64), 0.1)
    density = math.exp(-(theta**2) / 2) / math.sqrt(2 * math.pi)  # of a normal variable at theta
    for total, slope in ((count, -density), (values.sum(), -theta * density)):
        (found,) = torch.autograd.grad(total, log_threshold, retain_graph=True)
        assert float(found) / many == pytest.approx(slope * theta, rel=0.03)


def test_the_number_of_active_latents_comes_to_the_target_by_thresholds_of_their_own(tmp_path: Path):
    x = features(1500, 16)
    data = Data("x", "x", corpus=Items([str(n) for n in range(1500)], x, "vector"))
    sae = JumpReLU(latents=(64,), active=(4,), steps=300, batch_size=128, learning_rate=3e-3).fit(data)
    found = reconstruction(sae, x[is_held_out(np.arange(1500), 1500)])
    assert found.l0 == pytest.approx(4, abs=0.05)
    assert reconstruction(sae, x).l0 == pytest.approx(4, rel=0.3)  # what it came to before held-out rows were asked
    assert found.fvu < 0.5
    before = sae.threshold.clone()
    assert float(before.std()) > 0.01
    calibrate(sae, torch.as_tensor(x), 7)
    assert sae.encode(x).l0 == pytest.approx(7, abs=0.01)
    torch.testing.assert_close(sae.threshold / sae.threshold.sum(), before / before.sum())
    assert sae.config()["active"] == 4
    saelens.write(sae.at(), tmp_path / "lens")
    config = json.loads((tmp_path / "lens" / "cfg.json").read_text())
    assert config["architecture"] == "jumprelu"
    torch.testing.assert_close(az.load(tmp_path / "lens").encode_dense(x), sae.encode_dense(x), atol=1e-4, rtol=1e-4)


def test_what_training_calls_active_is_what_encoding_gives():
    x = features(400, 16)
    rows = ArrayRows(x)
    recipe = Recipe(Nesting(latents=(64,)), "jumprelu", 64, 4, 3e-3, l0=1.0, bandwidth=0.5)
    held = Learner(recipe, *mean_and_scale(rows.sample()))
    held.begin(rows.sample())
    assert held.sae.encode(x).l0 == pytest.approx(4, rel=0.1)
    with torch.no_grad():
        held.log_threshold.add_(torch.linspace(-1, 1, 64))
    held._show_thresholds()
    _, found = held.loss(SparseBatch(torch.as_tensor(x)), 0)
    codes = held.sae.encode(x)
    torch.testing.assert_close(found.entries.latents, codes.indices)
    torch.testing.assert_close(found.values.detach(), codes.values)


def test_the_weight_of_l0_rises(monkeypatch):
    x = features(400, 16)
    rows = ArrayRows(x)
    recipe = Recipe(Nesting(latents=(64,)), "jumprelu", 64, None, 3e-3, l0=2.0, l0_rise=0.5, aux=0.0)
    held = Learner(recipe, *mean_and_scale(rows.sample()))
    batch = SparseBatch(torch.as_tensor(x))
    losses = [float(held.loss(batch, step, 20)[0].detach()) for step in (0, 4, 9, 15)]
    l0 = held.sae.encode(x).l0
    assert losses[1] - losses[0] == pytest.approx(2 * l0 * 0.4, rel=1e-4)
    assert losses[2] - losses[0] == pytest.approx(2 * l0 * 0.9, rel=1e-4)
    assert losses[3] == losses[2]


def test_a_stronger_penalty_leaves_fewer_active():
    x = features(1500, 16)
    data = Data("x", "x", corpus=Items([str(n) for n in range(1500)], x, "vector"))
    same = {"latents": (64,), "steps": 200, "batch_size": 128, "learning_rate": 3e-3, "threshold": 0.5}
    weak, strong = (JumpReLU(l0=weight, **same).fit(data).encode(x).l0 for weight in (1e-3, 3e-2))
    assert strong < 0.8 * weak


def test_options_that_do_not_go_together_are_refused():
    with pytest.raises(AnysizeError, match="give one of the two"):
        JumpReLU(l0=0.1, active=(4,))
    with pytest.raises(AnysizeError, match="bandwidth must be above zero"):
        JumpReLU(bandwidth=0)
    with pytest.raises(AnysizeError, match="l0-rise is a share"):
        JumpReLU(l0_rise=2)
    with pytest.raises(SizeError, match="several numbers of active latents need topk"):
        JumpReLU(active=(2, 4)).nesting(16)
    assert JumpReLU().nesting(384).values("latents") == (2048,)
    assert JumpReLU(l0=0.1).recipe(16).active is None


def test_a_rival_beside_a_nested_one(anysize, tmp_path: Path):
    np.save(tmp_path / "X.npy", features(1200, 16))
    words = ["fit", tmp_path / "X.npy", "--method", "matryoshka-sae", "--latents", "16,64", "--active", "4"]
    assert anysize(*words, "--steps", "60", "--batch-size", "128", "--out", tmp_path / "sae").status == 0
    said = anysize("measure", tmp_path / "sae", tmp_path / "X.npy", "--arms", "jumprelu", "--json")
    assert said.status == 0, said.err
    assert {(one["arm"], one["size"]["latents"]) for one in said.json["records"]} == {
        (arm, size) for arm in ("nested", "jumprelu") for size in (16, 64)
    }
    plainly = ["fit", tmp_path / "X.npy", "--method", "jumprelu", "--l0", "0.01", "--latents", "64", "--steps", "20"]
    assert anysize(*plainly, "--batch-size", "128", "--out", tmp_path / "own").status == 0
    anysize("measure", tmp_path / "own", tmp_path / "X.npy", "--arms", "topk").refused(
        "not trained for a number of active latents"
    )
