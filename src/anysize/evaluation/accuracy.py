"""Measuring classifiers: accuracy and time of every size on labelled vectors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from anysize.core.errors import DataError
from anysize.core.model.faces import Classifies
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

if TYPE_CHECKING:
    from anysize.core.data.data import Data


class AccuracyEvaluator(Evaluator):
    """The share of rows whose most probable class is their label, and milliseconds to classify one row."""

    face = Classifies
    needs = "labelled vectors"

    def accepts(self, data: Data) -> bool:
        """Whether the data is labelled vectors."""
        return data.labels is not None and data.items().vectors is not None

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """All rows. Raises `DataError` for the data that the model was fitted on, which proves nothing."""
        if held_out:
            raise DataError(f"this classifier was fitted on {data.name}; measure it on other labelled rows")
        return Task(f"classification of {len(data.items())} rows", "accuracy", "rows", data)

    def score(self, view: Classifies, task: Task) -> Scores:
        """One look at all rows; the first is timed."""
        vectors = task.on.items().vectors
        right = view.probabilities(vectors).argmax(1) == view.places(task.on.labels).numpy()
        one = np.ascontiguousarray(vectors[:1])
        return Scores({task.metric: right.astype(float)}, run=partial(view.probabilities, one))
