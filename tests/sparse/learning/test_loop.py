from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.errors import AnysizeError, CheckpointError, DataError, DivergedError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse.learning.calibration import calibrate, threshold_for
from anysize.sparse.learning.contrastive import label_loss, pair_loss, self_loss
from anysize.sparse.learning.dead import dead_latent_loss
from anysize.sparse.learning.learner import Learner
from anysize.sparse.learning.levels_loss import loss_of_levels
from anysize.sparse.learning.loop import LearningPlan, last_checkpoint, train
from anysize.sparse.learning.recipe import Recipe
from anysize.sparse.learning.selecting import Selected
from anysize.sparse.rows.stored import ArrayRows, SparseBatch, is_held_out, mean_and_scale
from tests.conftest import flips, sentences
from tests.processes import two_processes
from tests.sparse import reference
from tests.sparse.making import features

D, F = 16, 64
BASE = Recipe(Nesting(latents=(8, 32, 64)), "batchtopk", F, 4, 3e-3)
RECIPES = {
    "prefixes": BASE,
    "sampled": replace(BASE, sampled=3),
    "ranks": replace(BASE, nesting=Nesting(active=(2, 8, 64)), activation="topk", active=None, error="nmse"),
    "both": replace(BASE, nesting=Nesting(latents=(16, 64), active=(2, 8)), activation="topk", active=None),
    "relu": replace(BASE, nesting=Nesting(latents=(64,)), activation="relu", active=None, l1=0.02),
    "jumprelu": replace(BASE, nesting=Nesting(latents=(16, 64)), activation="jumprelu", l0=1.0, l0_rise=0.2),
    "tied": replace(
        BASE, nesting=Nesting(active=(4, 16)), activation="topk", active=None, tied=True, unit_norm=False, contrast=0.1
    ),
}


def learner(recipe: Recipe, rows: ArrayRows) -> Learner:
    return Learner(recipe, *mean_and_scale(rows.sample()))


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return features(1200, D)


def explained(sae, x) -> float:
    x = torch.as_tensor(x)
    return 1 - float((sae(x) - x).square().sum() / (x - x.mean(0)).square().sum())


def test_every_recipe_learns(vectors):
    rows = ArrayRows(vectors)
    learners = {name: learner(recipe, rows) for name, recipe in RECIPES.items()}
    for held in learners.values():
        held.begin(rows.sample())
    logs = train(list(learners.values()), rows, LearningPlan(120, 128))
    for (name, held), log in zip(learners.items(), logs, strict=True):
        assert log[-1].loss < 0.7 * log[0].loss, name
        if held.recipe.activation == "batchtopk":
            calibrate(held.sae, rows.held_out(), 4)
        assert explained(held.sae, vectors) > 0.35, name
        if held.recipe.unit_norm:
            torch.testing.assert_close(held.sae.W_dec.norm(dim=1), torch.ones(F))
    tied = learners["tied"].sae
    torch.testing.assert_close(tied.W_enc, tied.W_dec.T)


def test_several_at_once_are_what_each_is_alone(vectors):
    rows = ArrayRows(vectors)
    pair = [learner(BASE, rows), learner(RECIPES["both"], rows)]
    train(pair, rows, LearningPlan(6, 64))
    for held in pair:
        alone = learner(held.recipe, rows)
        train([alone], rows, LearningPlan(6, 64))
        torch.testing.assert_close(dict(alone.sae.state_dict()), dict(held.sae.state_dict()), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["sampled", "tied", "jumprelu"])
def test_a_resumed_run_ends_with_the_same_weights(vectors, tmp_path: Path, name, monkeypatch):
    rows, recipe = ArrayRows(vectors), replace(RECIPES[name], dead_after=3)
    whole = learner(recipe, rows)
    logged = train([whole], rows, LearningPlan(20, 256), None)
    killed = learner(recipe, rows)
    plan = LearningPlan(20, 256, checkpoints=4)

    class Killed(Exception):
        pass

    def move(self, step, steps, real=Learner.move):
        if step == 12:
            raise Killed
        real(self, step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "move", move)
        with pytest.raises(Killed):
            train([killed], rows, plan, tmp_path)
    assert last_checkpoint(tmp_path).name == "step-10"
    for file in sorted(last_checkpoint(tmp_path).iterdir()):
        for _ in flips(file, 12):
            with pytest.raises(CheckpointError, match=r"or delete .*step-10 to resume from the one before"):
                train([learner(recipe, rows)], rows, plan, tmp_path, resume=True)
    resumed = learner(recipe, rows)
    assert train([resumed], rows, plan, tmp_path, resume=True) == logged
    torch.testing.assert_close(dict(resumed.sae.state_dict()), dict(whole.sae.state_dict()), atol=0, rtol=0)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_the_loss_over_two_axes_is_that_of_every_size(vectors):
    rows = ArrayRows(vectors)
    recipe = replace(RECIPES["both"], bias_level=True, aux=0.0)
    held = learner(recipe, rows)
    x = (torch.as_tensor(vectors[:32]) - held.sae.mean) * held.sae.scale
    loss, found = held.loss(SparseBatch(torch.as_tensor(vectors[:32])), 0)
    dense = torch.zeros(32, F)
    dense[found.entries.rows, found.entries.latents] = found.values
    sae, expected = held.sae, [(x - held.sae.b_dec).square().mean()]
    for size in recipe.nesting:
        z = reference.topk(dense, size["active"])
        expected += reference.losses(reference.prefix_errors(z, x, sae.W_dec, sae.b_dec, (size["latents"],)))
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_levels_without_weight_train_nothing(vectors):
    rows = ArrayRows(vectors)
    weighted = Nesting(latents=(8, 64), weights=(0.0, 1.0))
    batch = SparseBatch(torch.as_tensor(vectors[:64]))
    one, other = (
        learner(replace(BASE, nesting=nesting, reduction="sum"), rows) for nesting in (weighted, Nesting(latents=(64,)))
    )
    torch.testing.assert_close(one.loss(batch, 0)[0], other.loss(batch, 0)[0])


def test_sampled_prefixes_change_with_the_step_and_always_hold_the_whole(vectors):
    held = learner(RECIPES["sampled"], ArrayRows(vectors))
    x = (torch.as_tensor(vectors[:64]) - held.sae.mean) * held.sae.scale
    found = held.select(x, held.sae.W_enc)
    pieces = (held.recipe, found, x, held.sae.W_dec.detach(), held.sae.b_dec.detach())
    losses = [loss_of_levels(*pieces, step) for step in range(4)]
    assert len({float(one.loss) for one in losses}) == 4
    for one in losses:
        torch.testing.assert_close(one.left, losses[0].left)


def test_the_dead_latent_loss_and_its_gradients(vectors):
    held = learner(BASE, ArrayRows(vectors))
    sae = held.sae
    centred, left = (torch.randn(20, D, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    dead = torch.tensor([3, 5, 40, 41, 63])
    loss = dead_latent_loss(centred, left, sae.W_enc, sae, dead, 2)
    pre = reference.topk((centred @ sae.W_enc + sae.b_enc)[:, dead], 2)
    wanted = (pre @ sae.W_dec[dead] - left).square().mean() / (left - left.mean(0)).square().mean()
    torch.testing.assert_close(loss, wanted)
    weights = [sae.W_enc, sae.b_enc, sae.W_dec]
    torch.testing.assert_close(torch.autograd.grad(loss, weights), torch.autograd.grad(wanted, weights))


def test_dead_latents_are_counted_revived_and_said_once(vectors, capsys):
    rows = ArrayRows(vectors)
    held = learner(replace(BASE, dead_after=2, learning_rate=1e-2), rows)
    with torch.no_grad():
        held.sae.b_enc.fill_(-50)
    logs = train([held], rows, LearningPlan(20, 128))
    assert logs[0][4].dead == F
    said = capsys.readouterr().err
    assert said.count("all 64 latents are dead") == 1
    alone = learner(replace(BASE, dead_after=2, aux=0.0), rows)
    with torch.no_grad():
        alone.sae.b_enc[:32] = -50
    train([alone], rows, LearningPlan(20, 128))
    assert int((alone.silent >= 2).sum()) >= 32


def test_training_stops_before_a_bad_step(vectors, tmp_path: Path):
    rows = ArrayRows(vectors)
    held = learner(BASE, rows)
    with torch.no_grad():
        held.sae.b_dec[0] = torch.nan
    before = held.sae.W_dec.clone()
    with pytest.raises(DivergedError, match="the loss is nan at step 1 of 5"):
        train([held], rows, LearningPlan(5, 64), tmp_path)
    torch.testing.assert_close(held.sae.W_dec.detach(), before.detach())


def test_the_gradient_along_a_dictionary_row_is_taken_off_and_long_ones_are_cut(vectors):
    held = learner(replace(BASE, clip=1e-3), ArrayRows(vectors))
    held.gradients(SparseBatch(torch.as_tensor(vectors[:64])), 0)
    norm = held.tidy()
    along = (held.sae.W_dec.grad * held.sae.W_dec).sum(1)
    torch.testing.assert_close(along, torch.zeros(F), atol=1e-6, rtol=0)
    total = torch.cat([part.grad.flatten() for part in held.trained]).norm()
    assert float(norm) > 1e-3
    assert float(total) == pytest.approx(1e-3, rel=1e-3)


def test_a_threshold_gives_the_l0_that_was_asked_for(vectors):
    rows = ArrayRows(vectors)
    held = learner(BASE, rows)
    train([held], rows, LearningPlan(20, 128))
    for active in (0.5, 3, 7.25):
        calibrate(held.sae, rows.held_out(), active)
        assert held.sae.encode(rows.held_out()).l0 == pytest.approx(active, abs=0.01)
    threshold = threshold_for(held.sae, rows.held_out(), 3, latents=32)
    pre = reference.inputs_of(held.sae, rows.held_out())[:, :32]
    assert float((pre > threshold).sum(1).float().mean()) == pytest.approx(3, abs=0.01)
    with pytest.raises(AnysizeError, match="does not fit"):
        threshold_for(held.sae, rows.held_out(), 65)


def test_contrastive_losses_are_those_of_their_definitions():
    codes = torch.nn.functional.normalize(torch.rand(6, 9, generator=torch.Generator().manual_seed(0)), dim=1)
    doubled = torch.cat([codes, codes])
    logits = (doubled @ doubled.T / 0.2).fill_diagonal_(-torch.inf)
    wanted = torch.nn.functional.cross_entropy(logits, torch.arange(12).roll(6))
    torch.testing.assert_close(self_loss(codes, 0.2), wanted)
    wanted = torch.nn.functional.cross_entropy(codes[:3] @ codes[3:].T / 0.2, torch.arange(3))
    torch.testing.assert_close(pair_loss(codes[:3], codes[3:], 0.2), wanted)
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    total = []
    for i in range(5 + 1):
        others = [j for j in range(6) if j != i]
        scores = torch.stack([codes[i] @ codes[j] / 0.2 for j in others])
        own = [-(scores[place] - scores.logsumexp(0)) for place, j in enumerate(others) if labels[j] == labels[i]]
        if own:
            total.append(torch.stack(own).mean())
    torch.testing.assert_close(label_loss(codes, labels, 0.2), torch.stack(total).mean())


def test_pairs_and_labels_reach_the_contrastive_loss(vectors):
    rows = ArrayRows(vectors[:600], partners=vectors[600:], labels=np.arange(600) % 5)
    batch = next(rows.batches(0, 32))
    assert batch.x.shape == (64, D)
    first = np.flatnonzero((vectors == batch.x[0].numpy()).all(1))[0]
    torch.testing.assert_close(batch.x[32], torch.as_tensor(vectors[first + 600]))
    assert int(batch.labels[0]) == first % 5
    held = learner(replace(RECIPES["tied"], positives="pair"), rows)
    total, found = held.loss(batch, 0)
    without, _ = learner(replace(RECIPES["tied"], contrast=0.0), rows).loss(batch, 0)
    small = held.smallest(Selected(found.entries, found.values))
    dense = torch.zeros(64, F)
    dense[small.entries.rows, small.entries.latents] = small.values
    codes = torch.nn.functional.normalize(dense, dim=1)
    torch.testing.assert_close(total - without, 0.1 * pair_loss(codes[:32], codes[32:], 0.2), atol=1e-5, rtol=1e-4)


def test_a_pass_sees_every_training_row_once_also_in_pools_of_blocks(vectors, monkeypatch):
    numbered = np.arange(1200, dtype=np.float32)[:, None].repeat(2, 1)
    wholly = ArrayRows(numbered)
    monkeypatch.setattr("anysize.sparse.rows.stored._SHUFFLED_WHOLE", 0)
    monkeypatch.setattr("anysize.sparse.rows.stored._BLOCK", 16)
    monkeypatch.setattr("anysize.sparse.rows.stored._POOL", 4)
    pooled = ArrayRows(numbered)
    for rows in (wholly, pooled):
        seen = torch.cat([batch.x[:, 0] for batch in rows.batches(0, 9)]).numpy()
        assert len(set(seen)) == len(seen) == rows.count // 9 * 9
        assert not set(seen) & set(rows.held_out()[:, 0].numpy())
        again = torch.cat([batch.x[:, 0] for batch in rows.batches(0, 9, skip=2)]).numpy()
        np.testing.assert_array_equal(again, seen[18:])
        assert not np.array_equal(torch.cat([batch.x[:, 0] for batch in rows.batches(1, 9)]).numpy(), seen)
    assert 60 < is_held_out(np.arange(1200), 1200).sum() < 180
    assert is_held_out(np.arange(3), 3).sum() == 1


def test_data_that_teaches_nothing_is_refused(vectors):
    with pytest.raises(DataError, match="all rows are the same"):
        mean_and_scale(torch.full((9, 4), 3.7))
    with pytest.raises(DataError, match="1 rows are too few"):
        ArrayRows(vectors[:1])
    rows = ArrayRows(vectors[:20])
    with pytest.raises(AnysizeError, match="do not fill one batch of 64"):
        train([learner(BASE, rows)], rows, LearningPlan(3, 64))


def test_rows_are_centred_and_of_mean_square_one(vectors):
    mean, scale = mean_and_scale(torch.as_tensor(vectors) + 5)
    made = (torch.as_tensor(vectors) + 5 - mean) * scale
    torch.testing.assert_close(made.mean(0), torch.zeros(D), atol=1e-5, rtol=0)
    assert float(made.square().mean()) == pytest.approx(1, rel=1e-4)


def test_two_processes_train_what_one_does(tmp_path: Path, vectors, encoder_path: Path, anysize):
    np.save(tmp_path / "X.npy", vectors)
    lines = [json.dumps({"text": text}) for text in sentences(1100)]  # two shards, one made by each process
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    fit = ["fit", str(tmp_path / "texts.jsonl"), "--method", "batchtopk", "--model", str(encoder_path)]
    fit += ["--site", "layer.1", "--latents", "64", "--active", "4", "--steps", "20", "--batch-size", "128"]
    (tmp_path / "words.json").write_text(json.dumps(fit))
    printed = two_processes("tests.sparse.learning.in_two_processes", tmp_path)
    rows = ArrayRows(vectors)
    for name in ("prefixes", "ranks", "jumprelu"):
        alone = learner(replace(RECIPES[name], aux=0.0), rows)
        alone.begin(rows.sample())
        train([alone], rows, LearningPlan(8, 128))
        states = [torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        torch.testing.assert_close(states[0], states[1], atol=0, rtol=0)
        torch.testing.assert_close(states[0], dict(alone.sae.state_dict()), atol=2e-5, rtol=1e-4)

    # Streamed, each reads texts of its own, and they stop together.
    ours, theirs = (torch.load(tmp_path / f"stream-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert ours.shape == theirs.shape  # (batches, 5, 1)
    assert len(ours) > 40
    assert not set(ours.flatten().tolist()) & set(theirs.flatten().tolist())

    # The command line: the first process speaks and writes for both.
    assert printed.count("learnt from") == 1
    assert anysize(*fit, "--out", tmp_path / "one").status == 0
    one, two = (dict(az.load(tmp_path / name).state_dict()) for name in ("one", "two"))
    torch.testing.assert_close(two, one, atol=2e-5, rtol=1e-4)
    assert not (tmp_path / "two.partial").exists()
