"""How long and how fast to train, and what the trainer makes of it."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from anysize.core.errors import AnysizeError

REPORTERS = {
    "azure_ml": "azureml",
    "clearml": "clearml",
    "codecarbon": "codecarbon",
    "comet_ml": "comet_ml",
    "dagshub": "dagshub",
    "dvclive": "dvclive",
    "flyte": "flytekit",
    "kubeflow": "kubeflow",
    "mlflow": "mlflow",
    "neptune": "neptune",
    "swanlab": "swanlab",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}
"""Where the trainer can send losses, as transformers names it -> the package that it needs."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train; the same words as `transformers.TrainingArguments`."""

    epochs: float
    batch_size: int
    learning_rate: float
    seed: int = 0
    warmup_ratio: float = 0.05
    weight_decay: float = 0.0
    bf16: bool = False
    checkpoints: int = 10
    """How many times to save on the way; a killed run continues from the last one."""
    schedule: Literal["linear", "cosine"] = "linear"
    """How the rate falls to nothing after the warm-up."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Prefix of a parameter's name -> a learning rate of its own; of several, the longest prefix counts."""
    report_to: tuple[str, ...] = ()
    """Names of `REPORTERS`, to which losses are sent as well."""

    @classmethod
    def of(cls, method: Any, rows: int, **more: Any) -> Self:
        """What a method's options of these names say, for so many rows; `more` goes before them."""
        named = {one.name for one in fields(cls)} - more.keys()
        said = {name: getattr(method, name) for name in named if hasattr(method, name)}
        plan = {"warmup_ratio": 0.1, **said, **more}
        return cls(**{**plan, "batch_size": min(plan["batch_size"], rows)})


def total_steps(rows: int, plan: TrainingPlan) -> int:
    """Optimiser steps of a plan on this many rows, over all ranks. Raises `AnysizeError` if not one batch fits."""
    per_epoch = rows // (plan.batch_size * int(os.environ.get("WORLD_SIZE", "1")))
    if per_epoch == 0:
        raise AnysizeError(f"{rows} rows do not fill one batch of {plan.batch_size}; give more data or a smaller batch")
    return math.ceil(per_epoch * plan.epochs)


def steps_apart(steps: int, plan: TrainingPlan) -> int:
    """Steps between two checkpoints."""
    return max(1, steps // max(1, plan.checkpoints))


def arguments(plan: TrainingPlan, workdir: Path, steps: int, cls: type | None = None, **more: Any) -> Any:
    """`TrainingArguments` (or `cls`) for a plan of `steps` steps, with checkpoints in `workdir`."""
    import torch
    from transformers import TrainingArguments

    return (cls or TrainingArguments)(
        output_dir=str(workdir / "checkpoints"),
        num_train_epochs=plan.epochs,
        per_device_train_batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        warmup_steps=int(plan.warmup_ratio * steps),
        weight_decay=plan.weight_decay,
        lr_scheduler_type=plan.schedule,
        seed=plan.seed,
        data_seed=plan.seed,
        bf16=plan.bf16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
        save_strategy="steps",
        save_steps=steps_apart(steps, plan),
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=max(1, steps // 20),
        report_to=[name for name in plan.report_to if name not in ("none", "tensorboard")],  # see `reporting`
        **more,
    )


def optimizer(module: Any, plan: TrainingPlan) -> Any:
    """AdamW with the plan's rates by parameter; None where there are none, and the trainer makes its own."""
    if not plan.rates:
        return None
    import torch

    groups: dict[str, list[Any]] = {prefix: [] for prefix in ("", *plan.rates)}
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            groups[max((prefix for prefix in groups if name.startswith(prefix)), key=len)].append(weight)
    for prefix, weights in groups.items():
        if prefix and not weights:
            raise AnysizeError(f"no parameter that is trained has a name beginning with {prefix!r}, which has a rate")
    rates = {"": plan.learning_rate, **plan.rates}
    parts = [{"params": weights, "lr": rates[prefix]} for prefix, weights in groups.items() if weights]
    return torch.optim.AdamW(parts, lr=plan.learning_rate, weight_decay=plan.weight_decay)


def check_reporters(names: tuple[str, ...]) -> None:
    """Raise `AnysizeError` for a name that is none, or whose package is not installed."""
    for name in names:
        if name == "none" and len(names) == 1:
            continue
        if name not in REPORTERS:
            raise AnysizeError(f"report-to is {name!r}; expected none, or some of {', '.join(REPORTERS)}")
        if importlib.util.find_spec(REPORTERS[name]) is None:
            raise AnysizeError(f"report-to {name} needs a package that is not installed: pip install {REPORTERS[name]}")


def reporting(plan: TrainingPlan) -> list[Any]:
    """
    Callbacks for what `arguments` does not start: tensorboard, in the folder runs (or TENSORBOARD_LOGGING_DIR).

    By itself it would write beside the checkpoints, which are removed in the end.
    """
    if "tensorboard" not in plan.report_to:
        return []
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback(SummaryWriter(os.environ.get("TENSORBOARD_LOGGING_DIR")))]
