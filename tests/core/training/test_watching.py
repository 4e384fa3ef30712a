from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.core.training.left_out import loss_of, runner, split, watched
from anysize.core.training.trainer import TrainingPlan, train
from anysize.core.training.watching import BEST, HISTORY, Watch

PLAN = TrainingPlan(epochs=5, batch_size=4, learning_rate=0.05, checkpoints=5)  # 20 rows: 25 steps, a look every 5


class Points(torch.utils.data.Dataset):
    def __init__(self, count=20):
        self.x = torch.linspace(-1, 1, count)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "y": 3 * self.x[index]}


class Noisy(torch.nn.Module):
    """Fits y = w x with all kinds of chance: dropout, a draw of torch, one of Python and one of numpy."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.seen: list[float] = []

    def forward(self, x, y):
        chance = torch.rand(()) + random.random() + np.random.rand()
        loss = ((self.w * functional.dropout(x, 0.2, self.training) - y) ** 2).mean() + 0.1 * chance * self.w**2
        if self.training:
            self.seen.append(float(loss.detach()))
        return {"loss": loss}


def scores(values):
    """A watch that sees these, look by look, and the weights that it was shown."""
    module, shown = Noisy(), []
    given = iter(values)

    def score():
        shown.append(module.w.item())
        module(torch.ones(3), torch.ones(3))  # uses up random numbers
        return {"a": next(given), "b": 0.0}

    return module, shown, score


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    module, shown, score = scores([1, 3, 2, 3, 0])
    told = train(module, Points(), PLAN, tmp_path, resume=False, watch=Watch(score, "a test"))["watched"]
    assert module.w.item() == shown[1] != shown[-1]
    assert told["best"] == {"step": 10, "value": 1.5}
    assert (told["by"], told["better"]) == ("a test", "higher")
    assert told["looks"] == [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()]
    assert [(look["step"], look["sizes"]["a"]) for look in told["looks"]] == list(
        zip((5, 10, 15, 20, 25), (1, 3, 2, 3, 0), strict=True)
    )


@pytest.mark.parametrize("lower", [False, True])
def test_what_is_not_a_number_is_never_the_best(lower, tmp_path):
    module, shown, score = scores([float("nan"), 1, 2, float("nan"), 1.5])
    train(module, Points(), PLAN, tmp_path, resume=False, watch=Watch(score, lower_is_better=lower))
    assert module.w.item() == shown[1 if lower else 2]


def test_a_look_changes_nothing_of_the_training(tmp_path):
    module, _, score = scores([1, 2, 3, 4, 5])
    told = train(module, Points(), PLAN, tmp_path / "seen", resume=False, watch=Watch(score))
    alone = Noisy()
    assert train(alone, Points(), PLAN, tmp_path / "alone", resume=False)["losses"] == told["losses"]
    assert module.seen == alone.seen
    assert module.w.item() == alone.w.item()
    assert module.training


def test_patience_ends_it_early(tmp_path):
    module, shown, score = scores([1, 3, 2, 3, 9])
    told = train(module, Points(), PLAN, tmp_path, resume=False, watch=Watch(score, patience=2))
    assert (len(shown), len(module.seen)) == (4, 20)
    assert told["watched"]["best"]["step"] == 10


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [7, 12, 25])
def test_a_killed_and_resumed_run_ends_with_the_same_best(at, tmp_path):
    """A look every 3 steps, a checkpoint every 5: what was seen since the last checkpoint is seen again."""

    def run(name, kill=None, resume=False):
        module = Noisy()

        def score():
            return {"near": -abs(module.w.item() - 0.4)}  # best somewhere on the way

        def average(step):
            module.mean.mul_(0.5).add_(0.5 * module.w.detach())
            if step == kill:
                raise Killed

        told = train(
            module, Points(), PLAN, tmp_path / name, resume=resume, watch=Watch(score, every=3), after_step=average
        )
        return module, told["watched"]

    whole, expected = run("whole")
    with pytest.raises(Killed):
        run("cut", at)
    again, told = run("cut", resume=True)
    assert told == expected
    assert 3 < told["best"]["step"] < 24
    assert (again.w.item(), again.mean.item()) == (whole.w.item(), whole.mean.item())
    assert (tmp_path / "cut" / HISTORY).read_text() == (tmp_path / "whole" / HISTORY).read_text()


def test_altered_weights_are_not_taken_for_the_best(tmp_path):
    module, _, score = scores([5, 4, 3, 2, 1])

    def spoil(step):
        if step == 20:
            file = tmp_path / BEST / "weights.safetensors"
            file.write_bytes(file.read_bytes()[:-1] + b"\1")

    with pytest.raises(CheckpointError, match=r"weights.safetensors .* to train again"):
        train(module, Points(), PLAN, tmp_path, resume=False, watch=Watch(score), after_step=spoil)


class Options:
    watch, patience, seed = 0.25, 3, 1


def test_the_loss_of_rows_left_out_is_that_of_full_batches_none_of_which_is_learnt_from(tmp_path):
    points, module = Points(40), Noisy()
    kept, watch = watched(Options, points, 4, runner(module))
    assert sorted([*kept.indices, *split(points, 0.25, 1)[1].indices]) == list(range(40))
    assert split(points, 0.25, 2)[0].indices != kept.indices
    assert (watch.patience, watch.by) == (3, "the loss of 10 rows left out")

    class Square(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, x, y):
            loss = ((self.w * x - y) ** 2).mean()
            return {"loss": loss, "terms": {"dims=1": 2 * loss}}

    left_out = [point for point in range(40) if point not in kept.indices]
    with torch.no_grad():
        told = loss_of(split(points, 0.25, 1)[1], 4, runner(Square()), by="").score()
    expected = float((points.x[left_out[:8]] ** 2).mean())  # 2 x - 3 x; ten rows make two batches of four
    assert told == pytest.approx({"loss": expected, "dims=1": 2 * expected})


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(DataError, match="at least 2 are needed"):
        split(Points(), share, 0)


def test_a_watch_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(AnysizeError, match="gave no score"):
        train(Noisy(), Points(), PLAN, tmp_path, resume=False, watch=Watch(dict))
