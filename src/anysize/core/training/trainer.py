"""
The one place that knows the trainer: `transformers.Trainer` gives progress, resume, mixed precision, torchrun.

A family hands over a module whose ``forward(**batch)`` returns ``{"loss": ...}`` and a map-style data set of dicts.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anysize.core.errors import AnysizeError
from anysize.core.quiet import quiet as quiet_transformers
from anysize.core.training.checkpoints import check_checkpoint, last_checkpoint, sealing
from anysize.core.training.finite import stopping_when_not_finite

_LITTLE = 1 << 20  # bytes free, below which a failed write is put down to a full disk


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
        lr_scheduler_type="linear",
        seed=plan.seed,
        data_seed=plan.seed,
        bf16=plan.bf16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
        save_strategy="steps",
        save_steps=max(1, steps // max(1, plan.checkpoints)),
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=max(1, steps // 20),
        report_to=[],
        **more,
    )


def total_steps(rows: int, plan: TrainingPlan) -> int:
    """Optimiser steps of a plan on this many rows, over all ranks. Raises `AnysizeError` if not one batch fits."""
    per_epoch = rows // (plan.batch_size * int(os.environ.get("WORLD_SIZE", "1")))
    if per_epoch == 0:
        raise AnysizeError(f"{rows} rows do not fill one batch of {plan.batch_size}; give more data or a smaller batch")
    return math.ceil(per_epoch * plan.epochs)


def run(trainer: Any, workdir: Path, *, resume: bool) -> list[dict[str, float]]:
    """
    Train to the end, from the last checkpoint if `resume`; returns the logged losses.

    Raises `DivergedError`, naming the step, as soon as a loss or a gradient is not finite.
    """
    last = last_checkpoint(workdir) if resume else None
    if last is not None:
        check_checkpoint(last)
    trainer.add_callback(sealing())
    try:
        with quiet(), stopping_when_not_finite(trainer, workdir):
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except RuntimeError as error:
        # What torch says when a checkpoint does not fit on the disk names neither.
        if shutil.disk_usage(workdir).free < _LITTLE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(workdir)) from error
        raise
    return [{"step": entry["step"], "loss": entry["loss"]} for entry in trainer.state.log_history if "loss" in entry]


def train(
    module: Any, dataset: Any, plan: TrainingPlan, workdir: Path, *, resume: bool, collate: Any = None
) -> list[dict[str, float]]:
    """
    Train a module that returns ``{"loss": ...}`` on a data set of dicts; the module is changed in place.

    `collate` makes the module's arguments of a list of rows; by default tensors are stacked.
    """
    from transformers import Trainer, set_seed

    set_seed(plan.seed)
    steps = total_steps(len(dataset), plan)
    with quiet():
        trainer = Trainer(
            model=module,
            args=arguments(plan, workdir, steps, remove_unused_columns=False, label_names=[]),
            train_dataset=dataset,
            data_collator=collate,
        )
        use_plain_bar(trainer)
    hook = module.register_state_dict_post_hook(_apart)
    try:
        return run(trainer, workdir, resume=resume)
    finally:
        hook.remove()


def _apart(module: Any, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Copy for a checkpoint what modules share (a tied head): safetensors refuses one tensor under two names."""
    seen: set[int] = set()
    for name, tensor in state.items():
        if tensor.numel() and tensor.data_ptr() in seen:
            state[name] = tensor.clone()
        seen.add(tensor.data_ptr())


def use_plain_bar(trainer: Any) -> None:
    """Progress on standard error, without a dictionary printed to standard output at every log."""
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_bar())


def _bar() -> Any:
    from transformers import TrainerCallback

    from anysize.core.progress import bar

    class Bar(TrainerCallback):
        """One bar over the optimiser steps, with the latest loss."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = bar(state.max_steps, "training", " steps", done=state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}")

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Bar()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The trainer remarks on tokens and pinned memory that this training does not have."""
    with quiet_transformers(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(torch|transformers|accelerate)\.")
        yield
