"""
The one place that knows the trainer: `transformers.Trainer` gives progress, resume, mixed precision, torchrun.

A family hands over a module whose ``forward(**batch)`` returns ``{"loss": ...}`` and a map-style data set of dicts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from anysize.core.quiet import quiet as quiet_transformers
from anysize.core.training.checkpoints import check_checkpoint, last_checkpoint, sealing
from anysize.core.training.finite import stopping_when_not_finite
from anysize.core.training.plan import TrainingPlan, arguments, optimizer, reporting, total_steps
from anysize.core.training.watching import Watch, Watcher, watching

__all__ = ["TrainingPlan", "Watch", "arguments", "quiet", "run", "total_steps", "train", "use_plain_bar"]

_LITTLE = 1 << 20  # bytes free, below which a failed write is put down to a full disk


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
    module: Any,
    dataset: Any,
    plan: TrainingPlan,
    workdir: Path,
    *,
    resume: bool,
    collate: Any = None,
    watch: Watch | None = None,
    after_step: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """
    Train a module that returns ``{"loss": ...}`` on a data set of dicts; the module is changed in place.

    `collate` makes the module's arguments of a list of rows; by default tensors are stacked. With a `watch` the module
    ends with the weights of the best look. `after_step` is called with the number of each step that was taken; what it
    changes (the mean weights of a teacher) is resumed if it is part of the module.
    Returns what a model says of its training: ``losses``, and ``watched`` if it was.
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
            optimizers=(optimizer(module, plan), None),
        )
    return run_watched(trainer, module, plan, workdir, resume=resume, watch=watch, after_step=after_step)


def run_watched(
    trainer: Any,
    module: Any,
    plan: TrainingPlan,
    workdir: Path,
    *,
    resume: bool,
    watch: Watch | None = None,
    after_step: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """The rest of `train`, for a trainer of one's own that trains `module`."""
    use_plain_bar(trainer)
    for callback in reporting(plan):
        trainer.add_callback(callback)
    if after_step is not None:
        trainer.add_callback(_after(after_step))
    watcher = None
    if watch is not None:
        watcher = Watcher(watch, module, workdir)
        trainer.add_callback(watching(watcher, trainer, watch.every or trainer.args.save_steps))
    hook = module.register_state_dict_post_hook(_apart)
    try:
        losses = run(trainer, workdir, resume=resume)
        if watcher is None:
            return {"losses": losses}
        from anysize.core.training.processes import wait

        watcher.restore()
        wait()  # until all have read them: the first removes the folder
        return {"losses": losses, "watched": watcher.told()}
    finally:
        hook.remove()


def _after(step_taken: Callable[[int], None]) -> Any:
    from transformers import TrainerCallback

    class After(TrainerCallback):
        """Before a look at that step, and before its checkpoint."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step_taken(state.global_step)

    return After()


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
