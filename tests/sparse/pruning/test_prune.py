"""Importance, sorting and pruning, against dense loops and against what must stay the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.model.battery import check_nested_model
from anysize.core.sizes.nesting import Nesting
from anysize.sparse.measuring.errors_of_rows import cosine, fvu
from anysize.sparse.pruning.granularity import granularity_curve, recaptured
from anysize.sparse.pruning.importance import MEASURES, importance
from anysize.sparse.pruning.prune import mean_active, prune, sort_by_importance
from tests.sparse import reference
from tests.sparse.making import ACTIVE, LATENTS, inputs, random_sae

X = inputs(200)


def dense(sae):
    """Codes (n, F) and what they are to rebuild (n, d), in float64."""
    return sae.encode_dense(X).double(), (sae.standardize(X) - sae.b_dec).detach().double()


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "relu"])
def test_importance_is_the_dense_loop(activation):
    sae = random_sae(activation)
    with torch.no_grad():
        sae.W_dec.mul_(torch.linspace(0.5, 2, LATENTS)[:, None])  # lengths must be counted in
    z, target = dense(sae)
    w = sae.W_dec.detach().double()
    energy = [float((z[:, f] ** 2).mean() * (w[f] @ w[f])) for f in range(LATENTS)]
    np.testing.assert_allclose(importance(sae, X, "energy"), energy, rtol=1e-5)
    np.testing.assert_allclose(importance(sae, X, "frequency"), (z > 0).double().mean(0), rtol=1e-6)
    error = (target - z @ w).square().sum() / len(X)
    without = []
    for f in range(LATENTS):
        less = z.clone()
        less[:, f] = 0
        without.append(float((target - less @ w).square().sum() / len(X) - error))
    np.testing.assert_allclose(importance(sae, X, "contribution"), without, rtol=1e-3, atol=1e-4)


def test_greedy_adds_at_each_step_what_helps_most():
    sae = random_sae("topk")
    z, target = dense(sae)
    w = sae.W_dec.detach().double()
    left, chosen = target.clone(), []
    for _ in range(LATENTS):
        errors = {f: float((left - z[:, f, None] * w[f]).square().sum()) for f in range(LATENTS) if f not in chosen}
        best = min(errors, key=errors.get)
        chosen.append(best)
        left -= z[:, best, None] * w[best]
    assert torch.argsort(importance(sae, X, "greedy"), descending=True, stable=True)[:30].tolist() == chosen[:30]


def test_measures_that_are_not_there_are_refused():
    with pytest.raises(AnysizeError, match="expected one of energy"):
        importance(random_sae(), X, "beauty")
    with pytest.raises(DataError, match="no rows"):
        importance(random_sae(), X[:0])


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "jumprelu", "relu"])
def test_sorting_changes_nothing_but_the_order(activation):
    sae = random_sae(activation)
    done = sort_by_importance(sae, importance(sae, X), levels=(10, LATENTS))
    assert sorted(done.kept) == list(range(LATENTS))
    np.testing.assert_allclose(done.sae(X).detach(), sae(X).detach(), atol=1e-4)
    np.testing.assert_allclose(done.sae.encode_dense(X), sae.encode_dense(X)[:, list(done.kept)], atol=1e-5)
    scores = importance(done.sae, X)
    assert all(a >= b for a, b in itertools.pairwise(scores.tolist()))
    assert done.sae.nesting == Nesting(latents=(10, LATENTS))
    check_nested_model(done.sae, X[:20])


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "relu"])
def test_pruning_keeps_the_best_and_refits_the_bias(activation):
    sae = random_sae(activation)
    done = prune(sae, 15, X, refit_bias=False)
    order = torch.argsort(importance(sae, X), descending=True, stable=True)[:15].tolist()
    assert list(done.kept) == order == done.sae.about["kept"]
    assert torch.equal(done.sae.W_dec, sae.W_dec[order])
    refit = prune(sae, 15, X)
    # The codes are as they were; the error is centred, and no smaller error comes of any other shift.
    np.testing.assert_allclose(refit.sae.encode_dense(X), done.sae.encode_dense(X), atol=1e-4)
    left = X - refit.sae(X).detach().numpy()
    np.testing.assert_allclose(left.mean(0), 0, atol=1e-4)
    assert fvu(X, refit.sae(X).detach()) < fvu(X, done.sae(X).detach())


def test_pruned_codes_have_as_many_active_latents_as_before_or_as_asked():
    sae = random_sae("batchtopk")
    before = mean_active(sae, X)
    assert mean_active(prune(sae, 30, X).sae, X) == pytest.approx(before, abs=0.02)
    assert mean_active(prune(sae, 30, X, active=4.5).sae, X) == pytest.approx(4.5, abs=0.02)
    assert mean_active(prune(random_sae("topk"), 30, X).sae, X) == ACTIVE


def test_thresholds_of_each_latents_own_move_with_it():
    sae = random_sae("jumprelu")
    done = prune(sae, 12, X)
    assert torch.equal(done.sae.threshold, sae.threshold[list(done.kept)])


def test_several_levels_give_a_nested_autoencoder():
    done = prune(random_sae("topk"), (5, 20), X)
    assert done.sae.nesting == Nesting(latents=(5, 20))
    np.testing.assert_array_equal(done.kept[:5], prune(random_sae("topk"), 5, X).kept)
    ranks = prune(random_sae("topk", Nesting(active=(2, 8, LATENTS))), 20, X).sae
    assert ranks.nesting == Nesting(latents=(20,), active=(2, 8, 20))
    for latents in (41, (20, 10)):
        with pytest.raises(SizeError):
            prune(random_sae("topk"), latents, X)


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "relu"])
def test_curves_are_dense_decodes_of_both_readings(activation):
    sae = sort_by_importance(random_sae(activation), importance(random_sae(activation), X)).sae
    whole = sae.encode_dense(X)
    for row in granularity_curve(sae, X, (7, 25, LATENTS), reading="mask", rsa_rows=50):
        codes = whole[:, : row.latents]
        rebuilt = sae.decode(codes)
        assert row.fvu == pytest.approx(fvu(X, rebuilt), rel=1e-4)
        assert row.cosine == pytest.approx(cosine(X, rebuilt), abs=1e-5)
        assert row.l0 == pytest.approx(float((codes > 0).sum(1).double().mean()))
    again = granularity_curve(sae, X, (7, 25, LATENTS), reading="reselect", rsa_rows=50)
    assert again[-1].fvu == pytest.approx(fvu(X, sae(X).detach()), rel=1e-2)
    for row in again:
        pre = reference.inputs_of(sae, X)[:, : row.latents]
        if activation == "topk":
            values, places = pre.topk(ACTIVE, dim=1)
            codes = torch.zeros_like(pre).scatter_(1, places, values.clamp_min(0))
        elif activation == "relu":
            codes = pre.clamp_min(0)
        else:
            wanted, there = (float((part > 0).sum(1).double().mean()) for part in (whole, pre))
            assert row.l0 == pytest.approx(min(wanted, there), abs=0.1)
            continue
        assert row.fvu == pytest.approx(fvu(X, sae.decode(codes)), rel=1e-4)
    assert again[-1].rsa_codes == pytest.approx(1, abs=1e-3)
    assert MEASURES[0] == "energy"


def test_recaptured_loss_is_a_share_of_what_zero_costs():
    """A language model of one number: the loss grows with the distance from what was there."""
    x = torch.from_numpy(X)

    def loss(replace):
        return float((replace(x) - x).square().sum())

    halves = recaptured(loss, [lambda v: v, lambda v: 0.5 * v, torch.zeros_like])
    assert halves == pytest.approx([1, 0.75, 0])
    sae = random_sae("topk")
    row = granularity_curve(sae, X, (LATENTS,), loss=loss, rsa_rows=50)[0]
    assert row.recaptured == pytest.approx(1 - loss(lambda v: sae(v).detach()) / float(x.square().sum()), rel=1e-3)
