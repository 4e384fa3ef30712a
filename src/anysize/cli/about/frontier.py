"""A frontier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.cli.about.facts import About

if TYPE_CHECKING:
    from anysize.core.frontier.record import Record


def about_frontier(path: Path) -> About:
    """Its nested arm, a row a size."""
    from anysize.core.frontier.frontier import Frontier
    from anysize.core.frontier.records import NESTED

    frontier = Frontier.from_json(path)
    arm = NESTED if NESTED in frontier.arms else frontier.arms[0]
    metric = frontier.metric
    sizes = [
        {
            "size": str(record.size),
            "bytes_per_item": record.bytes,
            metric: round(record.metrics[metric], 4),
            **_interval(record, metric),
        }
        for record in frontier.arm(arm)
    ]
    facts = {"metric": metric, "arms": ", ".join(frontier.arms), **frontier.meta}
    return About(path, "frontier", facts, sizes, f"anysize choose {path} --within 1%")


def _interval(record: Record, metric: str) -> dict[str, Any]:
    span = record.intervals.get(metric)
    return {} if span is None else {"interval": [round(end, 4) for end in span]}


def is_frontier(path: Path) -> bool:
    """Whether a file is JSON and no table of data: anything but a list, or an object of lists alone."""
    from anysize.core.files import read_json

    if path.suffix.lower() != ".json":
        return False
    found = read_json(path, "a frontier")
    lists = isinstance(found, dict) and bool(found) and all(isinstance(column, list) for column in found.values())
    return not (isinstance(found, list) or lists)
