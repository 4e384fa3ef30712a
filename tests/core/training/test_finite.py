"""Training that turns to NaN stops at that step, and what was good before is kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from anysize.core.errors import AnysizeError, DivergedError
from anysize.core.training import trainer as training
from anysize.core.training.checkpoints import last_checkpoint
from anysize.core.training.trainer import TrainingPlan, train
from anysize.core.verbs.fit import fit
from anysize.text.embedder.method import MRL
from tests.conftest import spread_vectors
from tests.core.training.test_trainer import Line, Points
from tests.core.verbs.test_fit import METHOD


class Turns(Line):
    """A line whose loss or gradient is not finite at one step."""

    def __init__(self, step: int, what: str = "loss", value: float = float("nan")):
        super().__init__()
        self.step, self.what, self.value = step, what, value

    def forward(self, x, y):
        loss = super().forward(x, y)["loss"]
        if len(self.seen) == self.step:
            # sqrt has no slope at zero: a finite loss with a gradient that is not
            return {"loss": loss + (self.value if self.what == "loss" else torch.sqrt(0 * self.w))}
        return {"loss": loss}


PLAN = TrainingPlan(epochs=5, batch_size=5, learning_rate=0.1)  # 20 points: 20 steps, a checkpoint every 2


@pytest.mark.parametrize(
    ("what", "value", "shown"), [("loss", float("nan"), "nan"), ("loss", float("inf"), "inf"), ("gradient", 0, "nan")]
)
def test_it_stops_at_the_step_that_is_not_finite_and_says_which(tmp_path, what, value, shown):
    line = Turns(14, what, value)
    with pytest.raises(DivergedError) as caught:
        train(line, Points(), PLAN, tmp_path, resume=False)
    said = str(caught.value)
    assert said.startswith(
        f"the {what} is {shown} at step 14 of 20 (batch 2 of pass 4); the checkpoint of step 12 is kept"
    )
    assert "\n" not in said
    assert len(line.seen) == 14
    assert torch.isfinite(line.w)
    assert caught.value.checkpoint == last_checkpoint(tmp_path)


def test_from_the_kept_checkpoint_it_goes_on_to_the_weights_of_an_undisturbed_run(tmp_path):
    undisturbed, line = Line(), Turns(14)
    train(undisturbed, Points(), PLAN, tmp_path / "whole", resume=False)
    with pytest.raises(DivergedError):
        train(line, Points(), PLAN, tmp_path / "cut", resume=False)
    resumed = Line()
    train(resumed, Points(), PLAN, tmp_path / "cut", resume=True)
    assert len(resumed.seen) == 8
    assert torch.equal(resumed.w, undisturbed.w)


def test_without_a_checkpoint_yet_nothing_is_promised(tmp_path):
    with pytest.raises(DivergedError, match=r"^the loss is nan at step 1 of 20 .*; use a lower") as caught:
        train(Turns(1), Points(), PLAN, tmp_path, resume=False)
    assert caught.value.checkpoint is None


def test_several_small_batches_that_make_one_step_are_all_looked_at(tmp_path, monkeypatch):
    plain = training.arguments
    monkeypatch.setattr(
        training, "arguments", lambda *a, **k: plain(*a, gradient_accumulation_steps=2, **k)
    )  # fmt: skip
    with pytest.raises(DivergedError, match="at step 7 of 10"):
        train(Turns(14), Points(), PLAN, tmp_path, resume=False)


@pytest.fixture
def vectors(tmp_path):
    np.save(tmp_path / "v.npy", spread_vectors(128))
    return tmp_path / "v.npy"


def turn_at(step, monkeypatch):
    """From now on the weights of whatever is trained are NaN before that step."""
    from transformers import TrainerCallback

    class Spoil(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **_):
            if state.global_step + 1 == step:
                with torch.no_grad():
                    next(model.parameters()).fill_(float("nan"))

    plain = training.use_plain_bar
    monkeypatch.setattr(training, "use_plain_bar", lambda trainer: (plain(trainer), trainer.add_callback(Spoil())))


def test_a_fit_that_diverges_keeps_its_last_good_checkpoint_and_can_be_resumed(vectors, tmp_path, monkeypatch):
    undisturbed = fit(vectors, method=METHOD)
    turn_at(23, monkeypatch)
    with pytest.raises(DivergedError, match=r"at step 23 of 40 .* step 20 is kept in .*m.partial: resume"):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    monkeypatch.undo()
    with pytest.raises(AnysizeError, match="add --resume"):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    resumed = fit(vectors, method=METHOD, out=tmp_path / "m", resume=True)
    assert torch.equal(resumed.weight, undisturbed.weight)
    assert not (tmp_path / "m.partial").exists()


def test_a_fit_that_diverges_before_any_checkpoint_leaves_nothing_in_the_way(vectors, tmp_path, monkeypatch):
    turn_at(2, monkeypatch)
    with pytest.raises(DivergedError):
        fit(vectors, method=METHOD, out=tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.npy"]


def test_a_whole_model_that_is_tuned_is_watched_too(tmp_path, encoder_path, monkeypatch):
    from tests.conftest import write_pairs

    turn_at(2, monkeypatch)
    method = MRL(model=str(encoder_path), tune="full", dims=(8, 32), batch_size=16)
    with pytest.raises(DivergedError, match="at step 2 of 3"):
        fit(write_pairs(tmp_path / "p.jsonl", 60), method=method)


def test_the_command_line_says_it_in_one_sentence(vectors, tmp_path, monkeypatch, anysize):
    turn_at(23, monkeypatch)
    said = anysize("fit", vectors, "--out", tmp_path / "m", "--dims", "4,8", "--epochs", "10", "--batch-size", "32")
    said.refused("the loss is nan at step 23 of 40", "step 20")
    kept = last_checkpoint(tmp_path / "m.partial")
    assert json.loads((kept / "trainer_state.json").read_text())["global_step"] == 20
