"""Training task adapters together: one frozen base, one optimiser, and in each step the adapters of one data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from anysize.core.errors import AnysizeError
from anysize.core.losses.nested import told
from anysize.core.training.left_out import loss_of, runner
from anysize.core.training.trainer import TrainingPlan, train
from anysize.core.training.watching import Watch
from anysize.text.losses.dims import MatryoshkaLoss
from anysize.text.tasks.data import TaskSet
from anysize.text.tasks.model import TaskEncoder
from anysize.text.tasks.sampling import PlannedBatches, TaskBatch


class Column(torch.nn.Module):
    """The encoder as a loss calls its model: token ids with the name of their task in, vectors out."""

    def __init__(self, encoder: TaskEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The sentence vectors of one column."""
        inputs = {name: value for name, value in features.items() if name != "task"}
        return {"sentence_embedding": self.encoder.pooled(inputs, [features["task"]])}

    def tokens(self, texts: Sequence[str], task: str) -> dict[str, Any]:
        """What `forward` reads."""
        return {**self.encoder.tokens(texts, [task] * len(texts)), "task": task}

    def get_embedding_dimension(self) -> int:
        """The width of its vectors."""
        return self.encoder.in_features


class TaskTraining(torch.nn.Module):
    """
    The columns and the loss of each data set, as the trainer wants them: the loss of a batch.

    Checkpoints hold what is trained alone: the frozen base would fill them for nothing.
    """

    _keys_to_ignore_on_save = None  # the trainer asks for it where a checkpoint lacks weights, as all of these do

    def __init__(self, column: Any, sets: Sequence[TaskSet], dims: Sequence[int], temperature: float | None) -> None:
        super().__init__()
        self.column = column
        self.sets = list(sets)
        # In a tuple: they hold the model, which is this module's own.
        self._losses = tuple(
            MatryoshkaLoss(column, one.loss(column, temperature), matryoshka_dims=list(dims)) for one in sets
        )

    def collate(self, batches: Sequence[TaskBatch]) -> dict[str, Any]:
        """Token ids of each column with the task of its adapter, and the labels."""
        (batch,) = batches
        own = self.sets[batch.which]
        columns = [self.column.tokens(texts, own.adapter_of(place)) for place, texts in enumerate(batch.columns)]
        labels = batch.labels
        if own.shape != "scored pairs":  # names of rows, of which only the equality counts
            labels = [float(labels.index(label)) for label in labels]
        return {"which": batch.which, "columns": columns, "labels": torch.tensor(labels)}

    def forward(self, which: int, columns: list[dict[str, Any]], labels: torch.Tensor) -> dict[str, Any]:
        """The nested loss of one batch."""
        loss = self._losses[which]
        value = loss(columns, labels)
        return {"loss": value, **told(self, loss.terms_by_size())}

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """The weights that are trained."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: value for name, value in super().state_dict(*args, **options).items() if name in trained}


def steps_of(sets: Sequence[TaskSet], batch_size: int, epochs: float) -> int:
    """Steps in which as many rows are drawn as `epochs` passes over all data sets hold; at least one."""
    return max(1, round(epochs * sum(map(len, sets)) / batch_size))


def train_columns(
    training: TaskTraining,
    plan: TrainingPlan,
    workdir: Path,
    *,
    steps: int,
    resume: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train for `steps` batches of ``plan.batch_size`` rows; returns the logged losses, as `train` does."""
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise AnysizeError("task adapters are trained by one process: start it without torchrun")
    batches = PlannedBatches(training.sets, plan.batch_size, steps, plan.seed)
    # To the trainer one planned batch is one row.
    by_batch = replace(plan, epochs=1, batch_size=1)
    return train(training, batches, by_batch, workdir, resume=resume, collate=training.collate, watch=watch)


def train_adapters(
    encoder: TaskEncoder,
    sets: Sequence[TaskSet],
    plan: TrainingPlan,
    workdir: Path,
    *,
    steps: int | None = None,
    temperature: float | None = None,
    resume: bool = False,
    watch: float | None = None,
    patience: int | None = None,
) -> dict[str, Any]:
    """
    Train the adapters of `encoder` in place, at every width of its nesting; returns what `train` does.

    `steps` over all data sets together; by default ``plan.epochs`` passes. `temperature` replaces each task's own.
    `watch` is the share of each data set's rows that is left out to find the best weights by.
    Raises `AnysizeError` if the encoder lacks an adapter that the data sets need.
    """
    for one in sets:
        encoder.check_tasks(one.adapters)
    kept, left_out = list(sets), []
    if watch is not None:
        kept, left_out = map(list, zip(*(one.split(watch, plan.seed) for one in sets), strict=True))
    training = TaskTraining(Column(encoder), kept, encoder.nesting.values("dims"), temperature)
    many = steps or steps_of(kept, plan.batch_size, plan.epochs)
    look = None
    if left_out:
        seen = PlannedBatches(left_out, plan.batch_size, steps_of(left_out, plan.batch_size, 1), plan.seed)
        by = f"the loss of {sum(map(len, left_out))} rows left out"
        look = loss_of(seen, 1, runner(training, training.collate), by=by, patience=patience)
    learnt = train_columns(training, plan, workdir, steps=many, resume=resume, watch=look)
    encoder.eval()
    return learnt
