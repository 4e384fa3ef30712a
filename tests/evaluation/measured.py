"""What an evaluator says of some views, without a model's own rivals around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anysize.core.data.data import Data
from anysize.core.frontier.record import Record
from anysize.core.verbs.evaluator import Evaluator
from anysize.core.verbs.measure import records_of


def measured(
    evaluator: Evaluator, views: Mapping[str, Sequence[Any]], data: Data, held_out: bool = False
) -> list[Record]:
    """One record of each view."""
    return records_of(evaluator, views, evaluator.prepare(data, held_out))
