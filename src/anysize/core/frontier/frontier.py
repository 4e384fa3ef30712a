"""The frontier: the records of one data set, and the ways to show and keep them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anysize.core.arguments import MAPPING, PATH, takes
from anysize.core.digests import check_signature, signed
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.files import read_object, write_bytes, write_json
from anysize.core.frontier.page import page
from anysize.core.frontier.panel import Panel
from anysize.core.frontier.plot import draw
from anysize.core.frontier.record import Record, renamed
from anysize.core.frontier.records import Records
from anysize.core.frontier.style import drawn_cost
from anysize.core.frontier.table import areas, render, sentence
from anysize.core.shortly import shortly
from anysize.core.sizes.size import Size


@dataclass(frozen=True)
class Frontier(Records):
    """Records of one data set: the nested arm, and whatever it is compared with; as a table, a picture, a page."""

    @shortly
    def __repr__(self) -> str:
        span = dict.fromkeys(str(record.size) for record in sorted(self.records, key=lambda record: record.bytes))
        told = [f"{self.metric} of {', '.join(self.arms)} at {len(span)} sizes, {next(iter(span))} to {[*span][-1]}"]
        told += [f"{what} {self.meta[key]}" for key, what in (("model", "of"), ("data", "on")) if self.meta.get(key)]
        return " ".join(told)

    def said(self, record: Record, *, metric: str | None = None) -> str:
        """A sentence on a record: its value, its loss against its arm's full size, and the interval of each."""
        return sentence(self, record, metric or self.metric)

    def table(self, *, within: float | None = None, metric: str | None = None) -> str:
        """The main metric by size and arm as aligned text; `within` marks the cheapest size within that loss."""
        return render(self, within=within, metric=metric or self.metric)

    @takes(path=PATH)
    def plot(self, path: str | os.PathLike[str], *, chosen: Size | None = None) -> None:
        """Draw the frontier to a file (png, svg or pdf); `chosen` is marked. Needs matplotlib."""
        draw(self, Path(path), chosen=chosen)

    @takes(path=PATH)
    def to_html(self, path: str | os.PathLike[str], *, panels: Sequence[Panel] = ()) -> None:
        """
        Write one self-contained page: a chart, every metric in a sortable table, a budget to pick by.

        `panels` are what `anysize.core.verbs.panels.panels` makes of a model and data: what more its kind shows.
        """
        write_bytes(Path(path), page(self, panels).encode())

    @takes(path=PATH)
    def to_json(self, path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """As plain JSON values, the arms' areas with them, also written to `path` if one is given."""
        value = {
            "records": [record.to_json() for record in self.records],
            "metric": self.metric,
            "meta": dict(self.meta),
            **({"area": {"cost": drawn_cost(self), "arms": found}} if (found := areas(self)) else {}),
        }
        if path is not None:
            write_json(Path(path), signed(value))
        return value

    @classmethod
    @takes(source=PATH | MAPPING)
    def from_json(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> Frontier:
        """The inverse of `to_json`, from a file or its value. Raises `CheckpointError` if it is not a frontier."""
        value = source if isinstance(source, Mapping) else read_object(Path(source), "a frontier")
        if not isinstance(source, Mapping):
            check_signature(value, Path(source))
        try:
            records = tuple(Record.from_json(record) for record in value["records"])
            return cls(records, renamed(str(value["metric"])), dict(value.get("meta", {})))
        except (AnysizeError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            name = "this value" if isinstance(source, Mapping) else os.fspath(source)
            raise CheckpointError(f"{name} is not a frontier as `measure` writes it ({error})") from None
