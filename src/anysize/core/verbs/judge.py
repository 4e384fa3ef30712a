"""What a training can be watched by, besides the loss of rows left out: data to measure on, or a function of a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.arguments import shown
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError
from anysize.core.frontier.records import NESTED
from anysize.core.verbs.measure import measure

if TYPE_CHECKING:
    from anysize.core.training.left_out import Judge


def judge_of(watch: Any) -> Judge:
    """What `watch` says of a model: size -> how good it is. Raises `AnysizeError` for what cannot be watched by."""
    if isinstance(watch, str | Path | Data):
        return _measured(read(watch))
    if callable(watch):
        return _asked(watch)
    raise AnysizeError(
        f"watch is {shown(watch)}; expected a share of the rows (0.1), data to measure on, or a function of a model"
    )


def _asked(judge: Callable[[Any], float]) -> Judge:
    def sizes(model: Any) -> Mapping[str, float]:
        return {str(size): float(judge(model.at(size))) for size in model.nesting}

    return sizes


def _measured(data: Data) -> Judge:
    def sizes(model: Any) -> Mapping[str, float]:
        frontier = measure(model, data, arms=())
        return {str(one.size): one.metrics[frontier.metric] for one in frontier.arm(NESTED)}

    return sizes
