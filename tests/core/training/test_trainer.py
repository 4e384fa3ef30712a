from __future__ import annotations

import shutil

import pytest
import torch

from anysize.core.errors import AnysizeError
from anysize.core.training.checkpoints import last_checkpoint
from anysize.core.training.trainer import TrainingPlan, arguments, total_steps, train


class Line(torch.nn.Module):
    """Fits y = w x; keeps the batches that it saw."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[float]] = []

    def forward(self, x, y):
        self.seen.append(x.tolist())
        return {"loss": ((self.w * x - y) ** 2).mean()}


class Points(torch.utils.data.Dataset):
    def __init__(self, count=20):
        self.x = torch.linspace(-1, 1, count)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "y": 3 * self.x[index]}


def test_it_trains_and_reports_losses_that_fall(tmp_path):
    line = Line()
    plan = TrainingPlan(epochs=40, batch_size=5, learning_rate=0.1)
    losses = train(line, Points(), plan, tmp_path, resume=False)["losses"]
    assert line.w.item() == pytest.approx(3, abs=0.1)
    assert losses[-1]["step"] == 160
    assert losses[-1]["loss"] < 0.1 * losses[0]["loss"]


def test_a_seed_fixes_the_order_and_every_step_sees_a_full_batch(tmp_path):
    def order(name, seed):
        line = Line()
        train(line, Points(), TrainingPlan(2, 6, 0.1, seed=seed), tmp_path / name, resume=False)
        return line.seen

    one = order("a", 1)
    assert [len(batch) for batch in one] == [6] * 6
    assert order("b", 1) == one
    assert order("c", 2) != one
    assert len({x for batch in one[:3] for x in batch}) == 18


def test_progress_does_not_touch_standard_output(tmp_path, capfd):
    train(Line(), Points(), TrainingPlan(2, 5, 0.1), tmp_path, resume=False)
    assert capfd.readouterr().out == ""


def test_without_a_checkpoint_resuming_starts_over(tmp_path):
    line = Line()
    learnt = train(line, Points(), TrainingPlan(2, 5, 0.1), tmp_path, resume=True)
    assert learnt["losses"][-1]["step"] == 8


class Twice(torch.nn.Module):
    """Fits y = (w x) w: two layers share one weight, as a table and a head do."""

    def __init__(self):
        super().__init__()
        self.inside, self.outside = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.inside.weight, 0.5)
        self.outside.weight = self.inside.weight

    def forward(self, x, y):
        return {"loss": ((self.outside(self.inside(x[:, None]))[:, 0] - y) ** 2).mean()}


def test_shared_weights_can_be_kept_and_restored(tmp_path):
    whole, cut, again = Twice(), Twice(), Twice()
    plan = TrainingPlan(epochs=4, batch_size=5, learning_rate=0.1)
    train(whole, Points(), plan, tmp_path / "whole", resume=False)
    train(cut, Points(), plan, tmp_path / "cut", resume=False)
    last = last_checkpoint(tmp_path / "cut")
    shutil.rmtree(last)  # as if it had been killed before its end
    train(again, Points(), plan, tmp_path / "cut", resume=True)
    assert again.inside.weight.item() == whole.inside.weight.item() != 0.5
    assert again.outside.weight is again.inside.weight
    one, other = whole.state_dict().values()
    assert one.data_ptr() == other.data_ptr()  # nothing is copied once the training is over


def test_few_checkpoints_are_kept(tmp_path):
    train(Line(), Points(), TrainingPlan(10, 5, 0.1, checkpoints=5), tmp_path, resume=False)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"checkpoint-32", "checkpoint-40"}


@pytest.mark.parametrize(
    ("rows", "epochs", "batch", "steps"), [(100, 2, 10, 20), (105, 2, 10, 20), (100, 0.5, 10, 5), (10, 0.01, 10, 1)]
)
def test_steps_of_a_plan(rows, epochs, batch, steps):
    assert total_steps(rows, TrainingPlan(epochs, batch, 1e-3)) == steps


def test_ranks_share_the_steps(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert total_steps(100, TrainingPlan(2, 10, 1e-3)) == 4


def test_the_trainer_takes_as_many_steps_as_the_plan_says(tmp_path):
    line = Line()
    plan = TrainingPlan(1.5, 6, 0.1)
    train(line, Points(), plan, tmp_path, resume=False)
    assert len(line.seen) == total_steps(20, plan)


def test_less_than_a_batch_is_refused():
    with pytest.raises(AnysizeError, match="9 rows do not fill one batch of 10"):
        total_steps(9, TrainingPlan(1, 10, 1e-3))


def test_the_plan_reaches_the_trainer(tmp_path):
    plan = TrainingPlan(3, 7, 0.01, seed=5, warmup_ratio=0.1, weight_decay=0.2, checkpoints=4)
    made = arguments(plan, tmp_path, steps=200)
    assert (made.num_train_epochs, made.per_device_train_batch_size, made.learning_rate) == (3, 7, 0.01)
    assert (made.seed, made.data_seed, made.warmup_steps, made.weight_decay, made.save_steps) == (5, 5, 20, 0.2, 50)
    assert made.output_dir == str(tmp_path / "checkpoints")


@pytest.mark.parametrize(("free", "error"), [(1000, OSError), (10**9, RuntimeError)])
def test_a_checkpoint_that_does_not_fit_on_the_disk_says_so(free, error, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from anysize.core.training import trainer as training

    class Full(Line):
        def forward(self, x, y):
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    monkeypatch.setattr(training.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(error) as raised:
        train(Full(), Points(), TrainingPlan(1, 5, 0.1), tmp_path, resume=False)
    assert getattr(raised.value, "errno", None) == (28 if error is OSError else None)
