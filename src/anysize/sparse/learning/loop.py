"""
The training loop: several autoencoders on one pass over the data, resumable to the same weights.

It is not `anysize.core.training.trainer`, which trains one module: here many learn from one reading of the rows. Nor is
it watched: rows are rarely seen twice, so the loss of rows left out falls as the logged one does.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from anysize.core.digests import seal
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.files import new_directory, read_object, write_json
from anysize.core.progress import bar
from anysize.core.training.checkpoints import check_checkpoint, last_checkpoint
from anysize.core.training.finite import diverged
from anysize.core.training.processes import place, wait
from anysize.sparse.learning.learner import Learner
from anysize.sparse.rows.stored import Rows, SparseBatch

_STATE, _NOTE = "state.safetensors", "state.json"


@dataclass(frozen=True)
class LearningPlan:
    """How long to train."""

    steps: int
    batch_size: int
    """Rows (or pairs) per step, of all processes together."""
    checkpoints: int = 10


@dataclass(frozen=True)
class Log:
    """One autoencoder at one step of the way."""

    step: int
    loss: float
    active: float
    dead: int


def train(
    learners: Sequence[Learner], rows: Rows, plan: LearningPlan, workdir: Path | None = None, *, resume: bool = False
) -> list[list[Log]]:
    """
    Train all learners on the same batches, in place; what each logged, about twenty times on the way.

    `workdir` keeps checkpoints, from the last of which `resume` continues. Raises `DivergedError` at the first loss
    or gradient that is not finite, before it reaches the weights.
    """
    logs: list[list[Log]] = [[] for _ in learners]
    step, number, done = _restore(learners, logs, workdir) if resume and workdir is not None else (0, 0, 0)
    every, save = max(1, plan.steps // 20), max(1, plan.steps // max(1, plan.checkpoints))
    with bar(plan.steps, "training", " steps", done=step, show=place()[0] == 0) as shown:
        while step < plan.steps:
            began = done
            for batch in rows.batches(number, plan.batch_size, skip=done):
                for learner, log in zip(learners, logs, strict=True):
                    found = one_step(learner, batch, step, plan.steps, workdir)
                    if step % every == 0 or step == plan.steps - 1:
                        log.append(found)
                step, done = step + 1, done + 1
                shown.update()
                if workdir is not None and step % save == 0 and step < plan.steps:
                    _save(learners, logs, workdir, {"step": step, "pass": number, "batches": done})
                if step == plan.steps:
                    break
            if done == began == 0:
                raise AnysizeError(
                    f"{rows.count} rows to learn from do not fill one batch of {plan.batch_size}; give more data or a "
                    "smaller batch-size"
                )
            number, done = number + 1, 0
    return logs


def one_step(learner: Learner, batch: SparseBatch, step: int, steps: int, workdir: Path | None = None) -> Log:
    """Learn from one batch. Raises `DivergedError` before a loss or gradient that is not finite reaches the weights."""
    loss, found = learner.gradients(batch, step, steps)
    fired = found.entries.counts
    _exchange(learner, loss, fired)
    norm = learner.tidy()
    for what, value in (("loss", loss), ("gradient", norm)):
        if not torch.isfinite(value):
            raise diverged(what, float(value), f"step {step + 1} of {steps}", workdir)
    learner.move(step, steps)
    dead = learner.count(fired)
    return Log(step + 1, float(loss), int(fired.sum()) / (len(batch.x) * place()[1]), dead)


def _exchange(learner: Learner, loss: torch.Tensor, fired: torch.Tensor) -> None:
    """Among several processes: mean gradients and loss, and the sum of what fired, in place."""
    _, world = place()
    if world == 1:
        return
    for part in learner.trained:
        if part.grad is not None:
            gradient = part.grad.T if part is learner.sae.W_enc else part.grad  # one run of memory
            gradient = gradient.contiguous()
            torch.distributed.all_reduce(gradient)
            part.grad.copy_((gradient.T if part is learner.sae.W_enc else gradient) / world)
    torch.distributed.all_reduce(loss.div_(world))
    torch.distributed.all_reduce(fired)


# Checkpoints


def _save(learners: Sequence[Learner], logs: list[list[Log]], workdir: Path, note: dict[str, int]) -> None:
    if place()[0] == 0:
        (workdir / "checkpoints").mkdir(exist_ok=True)
        with new_directory(workdir / "checkpoints" / f"step-{note['step']}", marker=_NOTE) as directory:
            state = {
                f"{number}.{name}": value.contiguous().clone()
                for number, learner in enumerate(learners)
                for name, value in learner.state().items()
            }
            save_file(state, directory / _STATE)
            write_json(directory / _NOTE, {**note, "logs": [[asdict(entry) for entry in log] for log in logs]})
            seal(directory)
        for old in sorted((workdir / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))[:-2]:
            shutil.rmtree(old, ignore_errors=True)
    wait()


def _restore(learners: Sequence[Learner], logs: list[list[Log]], workdir: Path) -> tuple[int, int, int]:
    """
    Load the last checkpoint into the learners and their logs.

    Gives its step, the pass over the data, and the batches of that pass.
    """
    last = last_checkpoint(workdir)
    if last is None:
        return 0, 0, 0
    check_checkpoint(last)
    note = read_object(last / _NOTE, "a checkpoint")
    try:
        state = load_file(last / _STATE)
        for number, learner in enumerate(learners):
            mine = {name.partition(".")[2]: value for name, value in state.items() if name.startswith(f"{number}.")}
            learner.load_state(mine)
        for log, before in zip(logs, note.get("logs", []), strict=False):  # checkpoints of 0.2 hold none
            log[:] = [Log(**entry) for entry in before]
        return int(note["step"]), int(note["pass"]), int(note["batches"])
    except Exception as error:
        raise CheckpointError(f"{last} cannot be read ({error}); delete it to resume from the one before") from None
