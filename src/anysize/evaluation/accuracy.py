"""Measuring classifiers: accuracy and time of every size on labelled vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.errors import DataError
from anysize.core.frontier.record import Record
from anysize.core.frontier.timing import timed
from anysize.core.progress import each_view
from anysize.core.verbs.evaluator import Evaluator

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.faces import Classifies


class AccuracyEvaluator(Evaluator):
    """The share of rows whose most probable class is their label, and milliseconds to classify one row."""

    metric = "accuracy"

    def accepts(self, data: Data) -> bool:
        """Whether the data is labelled vectors."""
        return data.labels is not None and data.items().vectors is not None

    def describe(self, data: Data, *, held_out: bool) -> dict[str, Any]:
        """What is measured, for the frontier's caption."""
        return {"task": f"classification of {len(data.items())} rows", "units": "rows"}

    def evaluate(
        self, views: Mapping[str, Sequence[Classifies]], data: Data, *, held_out: bool = False
    ) -> list[Record]:
        """One record per view. Raises `DataError` for the data that the model was fitted on, which proves nothing."""
        if held_out:
            raise DataError(f"this classifier was fitted on {data.name}; measure it on other labelled rows")
        vectors = data.items().vectors
        assert vectors is not None
        one = np.ascontiguousarray(vectors[:1])
        records, runs = [], []
        for arm, model in each_view(views):
            right = model.probabilities(vectors).argmax(1) == model.places(data.labels or []).numpy()
            cost, units = model.cost(), {self.metric: right.astype(float)}
            metrics = {self.metric: float(np.mean(right))}
            records.append(
                Record(model.size, arm, metrics, cost.bytes, parameters=cost.parameters, flops=cost.flops, units=units)
            )
            runs.append(partial(model.probabilities, one))
        return timed(records, runs)
