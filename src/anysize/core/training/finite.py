"""
Training stops at the first loss or gradient that is not a finite number, before it can reach the weights.

A trainer that goes on past one saves weights that are all NaN, over the good ones, and says nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anysize.core.errors import DivergedError
from anysize.core.training.checkpoints import last_checkpoint


@contextlib.contextmanager
def stopping_when_not_finite(trainer: Any, workdir: Path) -> Iterator[None]:
    """
    While it lasts, a `transformers.Trainer` raises `DivergedError` in place of a step that is not finite.

    The gradient is looked at as well as the loss: among several processes, every one stops at the same step, since
    the gradients that they exchange spread what is not finite to all.
    """
    import torch
    from transformers import TrainerCallback

    def stop(what: str, value: float) -> None:
        raise diverged(what, value, _where(trainer), workdir)

    class Watch(TrainerCallback):
        """Looks at the gradient when it is complete and not yet used."""

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            sums = [part.grad.sum() for part in model.parameters() if part.grad is not None]
            total = torch.stack(sums).sum() if sums else torch.zeros(())
            if not torch.isfinite(total):
                stop("gradient", float(total))

    step = trainer.training_step

    def checked(*arguments: Any, **options: Any) -> Any:
        loss = step(*arguments, **options)
        if not torch.isfinite(loss):
            stop("loss", float(loss))
        return loss

    watch = Watch()
    trainer.training_step = checked
    trainer.add_callback(watch)
    try:
        yield
    finally:
        del trainer.training_step
        trainer.remove_callback(watch)


def _where(trainer: Any) -> str:
    state, arguments = trainer.state, trainer.args
    step = state.global_step + 1
    per_pass = max(1, round(state.max_steps / arguments.num_train_epochs))
    return f"step {step} of {state.max_steps} (batch {(step - 1) % per_pass + 1} of pass {(step - 1) // per_pass + 1})"


def diverged(what: str, value: float, where: str, workdir: Path | None) -> DivergedError:
    """That the loss or the gradient is this value at this step, and what is kept of the run."""
    kept = None if workdir is None else last_checkpoint(workdir)
    advice = "use a lower learning-rate, or leave out bf16"
    if kept is None:
        return DivergedError(f"the {what} is {value} at {where}; {advice}")
    return DivergedError(
        f"the {what} is {value} at {where}; the checkpoint of step {kept.name.split('-')[1]} is kept in "
        f"{workdir}: resume from it, or delete that folder and {advice}",
        kept,
    )
