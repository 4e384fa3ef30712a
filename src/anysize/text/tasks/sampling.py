"""Batches for task adapters: each from one data set, drawn in proportion to its rows, all planned before the first."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from anysize.core.errors import AnysizeError
from anysize.text.tasks.data import TaskSet


class TaskBatch(NamedTuple):
    """Rows of one data set."""

    which: int
    """The place of the data set."""
    columns: list[list[str]]
    labels: list[float]


class PlannedBatches(torch.utils.data.Dataset):
    """
    `steps` batches of at most `batch_size` rows; item i is the batch of step i.

    A data set gives every row once before it gives one again. Equal seeds plan equal batches, so a run that was killed
    continues with those that were left. Raises `AnysizeError` for fewer than two rows a batch.
    """

    def __init__(self, sets: Sequence[TaskSet], batch_size: int, steps: int, seed: int) -> None:
        if batch_size < 2:
            raise AnysizeError(f"a batch of {batch_size} has nothing to compare; give at least 2 rows")
        self.sets = list(sets)
        drawn = random.Random(f"data sets {seed}").choices(range(len(sets)), [len(one) for one in sets], k=steps)
        streams = [_rows(one, f"{place} {seed}") for place, one in enumerate(sets)]
        self.plan = [
            (which, [next(streams[which]) for _ in range(min(batch_size, len(sets[which])))]) for which in drawn
        ]

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> TaskBatch:
        which, rows = self.plan[index]
        one = self.sets[which]
        columns = [[column[row] for row, _ in rows] for column in one.columns]
        if one.shape == "labelled texts":
            columns.append([one.columns[0][partner] for _, partner in rows])
        return TaskBatch(which, columns, [one.labels[row] for row, _ in rows])


def _rows(one: TaskSet, seed: str) -> Iterator[tuple[int, int]]:
    """Rows in random order without end, each beside another row of its label (itself where labels are no classes)."""
    rng = random.Random(seed)
    members: dict[float, list[int]] = defaultdict(list)
    if one.shape == "labelled texts":
        for row, label in enumerate(one.labels):
            members[label].append(row)
    order = list(range(len(one)))
    while True:
        rng.shuffle(order)
        for row in order:
            others = members.get(one.labels[row], [row])
            partner = rng.choice(others)
            while partner == row and len(others) > 1:
                partner = rng.choice(others)
            yield row, partner
