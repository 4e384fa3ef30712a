"""The number of active latents may fall during training: from how many, until when, and at every level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse import CSR, MSAE, BatchTopK, JumpReLU, MatryoshkaSAE, ReLU, TopK
from anysize.sparse.learning.levels_loss import loss_of_levels
from anysize.sparse.learning.loop import LearningPlan, train
from anysize.sparse.learning.recipe import Recipe
from anysize.sparse.rows.stored import ArrayRows, SparseBatch
from tests.sparse import reference
from tests.sparse.learning.test_loop import BASE, D, F, learner
from tests.sparse.making import features

RANKS = Recipe(Nesting(active=(2, 8, 32)), "topk", F, None, 3e-3, k_anneal=0.7, initial_topk=16, aux=0.0)


def test_k_falls_evenly_and_is_reached_in_time():
    one = replace(BASE, k_anneal=0.5, initial_topk=16)
    times = [one.more_active(step, 20) for step in range(20)]
    np.testing.assert_allclose(np.array(times[:10]) * 4, np.linspace(16, 4, 11)[:10])
    assert set(times[10:]) == {1.0}
    assert BASE.more_active(0, 20) == 1
    assert RANKS.more_active(0, 10) * 2 == 16  # the sparsest level starts there
    assert RANKS.levels_now(RANKS.more_active(0, 10)) == (16, 64, 64)  # no level holds more than all latents


@pytest.mark.parametrize("kind", ["batchtopk", "topk"])
def test_a_step_selects_as_many_as_are_due(kind):
    x = features(256, D)
    recipe = replace(BASE, nesting=Nesting(latents=(F,)), activation=kind, k_anneal=1.0, initial_topk=16)
    held = learner(recipe, ArrayRows(x))
    for step, k in ((0, 16), (5, 10), (10, 4)):
        _, found = held.loss(SparseBatch(torch.as_tensor(x[:64])), step, 10)
        pre = reference.inputs_of(held.sae, x[:64])
        wanted = (reference.topk if kind == "topk" else reference.batchtopk)(pre, k)
        dense = torch.zeros(64, F)
        dense[found.entries.rows, found.entries.latents] = found.values
        torch.testing.assert_close(dense, wanted.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("nesting", [RANKS.nesting, Nesting(latents=(16, F), active=(2, 8))])
def test_losses_on_the_way_are_those_of_more_active_levels(nesting):
    x = features(256, D)
    recipe = replace(RANKS, nesting=nesting)
    held = learner(recipe, ArrayRows(x))
    loss, _ = held.loss(SparseBatch(torch.as_tensor(x[:32])), 3, 10)
    sae, times = held.sae, (16 + (2 - 16) * 3 / 7) / 2
    rows = (torch.as_tensor(x[:32]) - sae.mean) * sae.scale
    pre = reference.pre_activations(rows, sae.W_enc, sae.b_enc, sae.b_dec)
    wanted = []
    for size in nesting:
        z = reference.topk(pre, min(round(size["active"] * times), F))
        wanted.append(
            reference.losses(reference.prefix_errors(z, rows, sae.W_dec, sae.b_dec, (size.get("latents", F),)))[0]
        )
    torch.testing.assert_close(loss, torch.stack(wanted).mean())
    weights = [sae.W_enc, sae.W_dec, sae.b_enc]
    torch.testing.assert_close(
        torch.autograd.grad(loss, weights), torch.autograd.grad(torch.stack(wanted).mean(), weights)
    )


def test_the_contrastive_loss_sees_the_sparsest_level_of_the_step():
    x = features(256, D)
    held = learner(replace(RANKS, contrast=0.1), ArrayRows(x))
    _, found = held.loss(SparseBatch(torch.as_tensor(x[:32])), 0, 10)
    assert held.smallest(found, RANKS.more_active(0, 10)).entries.counts.sum() == 16 * 32
    assert held.smallest(found).entries.counts.sum() == 2 * 32


def test_equal_levels_have_equal_losses():
    x = torch.as_tensor(features(32, D))
    held = learner(replace(RANKS, reduction="sum"), ArrayRows(features(256, D)))
    found = held.select(x, held.sae.W_enc, 100.0)
    alone = replace(RANKS, nesting=Nesting(active=(F,)), reduction="sum")
    pieces = (found, x, held.sae.W_dec, held.sae.b_dec, 0)
    together, one = loss_of_levels(RANKS, *pieces, 100.0), loss_of_levels(alone, *pieces)
    torch.testing.assert_close(together.loss, one.loss)  # the mean of three levels that all hold everything
    torch.testing.assert_close(together.left, one.left)


def test_training_ends_at_k_and_resumes_where_it_was(tmp_path: Path, anysize):
    np.save(tmp_path / "X.npy", features(1200, D))
    rows = ArrayRows(np.load(tmp_path / "X.npy"))
    held = learner(replace(BASE, k_anneal=0.7, initial_topk=12), rows)
    log = train([held], rows, LearningPlan(20, 128))[0]
    assert log[0].active == 12
    assert log[-1].active == 4
    words = ["fit", tmp_path / "X.npy", "--method", "csr", "--latents", "64", "--active", "4", "--k-anneal", "0.7"]
    assert anysize(*words, "--steps", "40", "--batch-size", "128", "--out", tmp_path / "codes").status == 0
    assert int(az.load(tmp_path / "codes", active=4).encode(np.load(tmp_path / "X.npy")).counts.max()) == 4
    said = anysize("measure", tmp_path / "codes", tmp_path / "X.npy", "--arms", "single,batchtopk,jumprelu", "--json")
    said.refused("several numbers of active latents need topk")
    assert anysize("measure", tmp_path / "codes", tmp_path / "X.npy", "--arms", "single", "--json").status == 0


def test_where_nothing_can_fall_it_is_refused():
    for kind in (MSAE, ReLU, JumpReLU):
        with pytest.raises(AnysizeError, match="has no k that could fall"):
            kind(k_anneal=0.5)
    with pytest.raises(AnysizeError, match="give k-anneal too"):
        TopK(initial_topk=64)
    with pytest.raises(AnysizeError, match="k-anneal is a share of the steps"):
        BatchTopK(k_anneal=2)
    with pytest.raises(SizeError, match="initial-topk=3 must lie between the active latents, 4, and all 64"):
        MatryoshkaSAE(latents=(64,), active=(4,), k_anneal=0.5, initial_topk=3).recipe(16)
    assert CSR(latents=(1536,), active=(8,), k_anneal=0.7).recipe(384).initial_topk == 384
    levels = CSR(latents=(64,), active=(4, 16), k_anneal=0.7, initial_topk=8)
    assert levels.single(levels.nesting(16)[0]).initial_topk == 8
    assert levels.single(levels.nesting(16)[1]).initial_topk is None
