from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from anysize.core.errors import AnysizeError
from anysize.core.training import plan as home
from anysize.core.training.plan import REPORTERS, TrainingPlan, arguments, check_reporters, optimizer
from anysize.core.training.trainer import train
from tests.core.training.test_watching import Points


class Two(torch.nn.Module):
    """Two weights that get the same gradient."""

    def __init__(self):
        super().__init__()
        self.tower = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.zeros(())), "b": torch.zeros(())})
        self.head = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, y):
        return {"loss": (((self.tower["a"] + self.tower["b"] + self.head) * x - y) ** 2).mean()}


def test_a_plan_takes_what_a_method_says_and_what_is_said_besides():
    @dataclass
    class Options:
        epochs: float = 2.0
        batch_size: int = 32
        learning_rate: float = 0.1
        bf16: bool = True
        steps: int = 5

    plan = TrainingPlan.of(Options(), 20, learning_rate=0.2, weight_decay=0.01)
    assert plan == TrainingPlan(2.0, 20, 0.2, warmup_ratio=0.1, weight_decay=0.01, bf16=True)


def test_parameters_may_have_rates_of_their_own(tmp_path):
    module = Two()
    # Adam's first step is as long as the rate, whatever the gradient.
    plan = TrainingPlan(1, 20, 0.01, warmup_ratio=0, rates={"tower": 0.1, "tower.b": 0.0})
    train(module, Points(), plan, tmp_path, resume=False)
    assert module.head.item() == pytest.approx(0.01, rel=1e-4)
    assert module.tower["a"].item() == pytest.approx(0.1, rel=1e-4)
    assert module.tower["b"].item() == 0


def test_a_rate_for_nothing_is_refused():
    with pytest.raises(AnysizeError, match="beginning with 'towel'"):
        optimizer(Two(), TrainingPlan(1, 2, 0.01, rates={"towel": 0.1}))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_falls_as_the_schedule_says(schedule, tmp_path):
    from transformers import get_scheduler

    rates = []
    module = Two()
    plan = TrainingPlan(4, 4, 0.01, warmup_ratio=0.1, schedule=schedule)
    made = arguments(plan, tmp_path, 20)
    weight = torch.optim.AdamW(module.parameters(), lr=0.01)
    falling = get_scheduler(made.lr_scheduler_type, weight, made.warmup_steps, 20)
    for _ in range(20):
        weight.step()
        falling.step()
        rates.append(falling.get_last_lr()[0])
    middle = {"linear": 0.01 * 9 / 18, "cosine": 0.005}[schedule]
    quarter = {"linear": 0.01 * 14 / 18, "cosine": 0.005 * (1 + torch.tensor(torch.pi * 4 / 18).cos().item())}[schedule]
    assert (rates[1], rates[5], rates[10]) == pytest.approx((0.01, quarter, middle))
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_reporters_are_those_of_transformers_and_installed(monkeypatch):
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert INTEGRATION_TO_CALLBACK.keys() == REPORTERS.keys()
    check_reporters(("none",))
    with pytest.raises(AnysizeError, match=r"report-to is 'tensorbored'; expected none, or some of .*tensorboard"):
        check_reporters(("tensorbored",))
    monkeypatch.setattr(home.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AnysizeError, match="pip install wandb"):
        check_reporters(("wandb",))
