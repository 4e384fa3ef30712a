"""The evaluator ``explained-variance``: how much of the vectors comes back."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import anysize as az
from anysize.extending import Rebuilds, Scores, Task
from anysize_stages.rows import measured, vectors_of


class ExplainedVariance(az.Evaluator):
    """One minus the squared error of the rebuilt vectors over their squared distance to the mean."""

    face = Rebuilds
    needs = "vectors"

    def accepts(self, data: az.Data) -> bool:
        """Whether there are vectors."""
        return data.corpus is not None and data.corpus.vectors is not None

    def prepare(self, data: az.Data, held_out: bool = False) -> Task:
        """The rows to measure on; of data that were learnt from, those that were left out."""
        x = measured(data, held_out)
        spread = float(np.square(x - vectors_of(data).mean(0)).sum(1).mean())
        return Task(f"rebuilding {len(x)} vectors", "explained variance", "rows", (x, spread))

    def score(self, view: Any, task: Task) -> Scores:
        """A figure for each row, whose mean is the metric; and one row again, to be timed."""
        x, spread = task.on
        errors = np.square(view.run(x) - x).sum(1)
        return Scores({task.metric: 1 - errors / spread}, run=partial(view.run, x[:1]))
