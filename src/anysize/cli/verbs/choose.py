"""``anysize choose``: a tolerated loss or a budget in, the cheapest size out."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anysize.cli.options import Positional

if TYPE_CHECKING:
    from anysize.core.frontier.frontier import Frontier
    from anysize.core.frontier.record import Record

_UNITS = {"": 1, "b": 1, "kb": 1000, "kib": 1024, "mb": 1000**2, "mib": 1024**2}


@dataclass
class Choose:
    """
    Choose a size from a measured frontier.

    With --within or --as-good-as: the cheapest size that is good enough. With budgets alone: the best size that fits.
    What is given combines.
    """

    frontier: Annotated[Path, Positional("MODEL_OR_FRONTIER")]
    """A model that `anysize measure` has measured, or a frontier as JSON."""
    within: str | None = None
    """The quality that may be lost, as a share of that at full size: 1% or 0.01; of a metric in dB also 0.5dB."""
    as_good_as: str | None = None
    """An arm that the size must be as good as, for example original."""
    max_bytes: str | None = None
    """The most bytes to store per item: 256 or 1KB."""
    max_ms: float | None = None
    """The most milliseconds per query."""
    metric: str | None = None
    """What to judge quality by, for example ndcg@10; the frontier's main metric unless given."""

    def run(self) -> Chosen:
        """Read the frontier and choose."""
        from anysize.cli.notes import tell
        from anysize.core.errors import AnysizeError
        from anysize.core.frontier.table import no_slower
        from anysize.core.frontier.tolerance import tolerance

        frontier = read_frontier(self.frontier)
        if all(given is None for given in (self.within, self.as_good_as, self.max_bytes, self.max_ms)):
            raise AnysizeError("say what to choose by: --within, --as-good-as, --max-bytes or --max-ms")
        record = frontier.cheapest(
            within=None if self.within is None else tolerance(self.within),
            as_good_as=self.as_good_as,
            max_bytes=None if self.max_bytes is None else bytes_of(self.max_bytes),
            max_ms=self.max_ms,
            metric=self.metric,
        )
        said = frontier.said(record, metric=self.metric)
        noise = None if self.max_ms is None else no_slower(frontier, record, self.max_ms)
        notes = (said, *([] if noise is None else [noise]), *map(str, frontier.meta.get("notes", ())))
        tell(notes)
        return Chosen(record, notes, why(frontier, record, self.metric))


@dataclass(frozen=True)
class Chosen:
    """The record that was chosen."""

    record: Record
    notes: tuple[str, ...] = ()
    """Its value and loss with their intervals, and what was noted when it was measured."""
    why: str = ""

    def text(self) -> str:
        """The size and why; where another program reads, the size alone, as it is typed, for other commands."""
        size = str(self.record.size)
        return f"{size}: {self.why}" if self.why and sys.stdout.isatty() else size

    def to_json(self) -> dict[str, Any]:
        """The whole record, why it, and the notes."""
        return {**self.record.to_json(), "why": self.why, "notes": list(self.notes)}


def why(frontier: Frontier, record: Record, metric: str | None = None) -> str:
    """What it keeps of the full size's quality, and how much less it costs: "keeps 97.1 %, 4.1 times fewer bytes"."""
    from anysize.core.frontier.record import is_lower

    full, metric = frontier.full(record.arm), metric or frontier.metric
    if record.size == full.size:
        return "the full size"
    before, now = full.metrics[metric], record.metrics[metric]
    share = before > 0 and not is_lower(metric)
    kept = f"keeps {100 * now / before:.1f} %" if share else f"{metric} {now:.3f} of {before:.3f}"
    costs = {"bytes": (full.bytes, record.bytes), "parameters": (full.parameters, record.parameters)}
    less = [f"{whole / part:.1f} times fewer {name}" for name, (whole, part) in costs.items() if whole and part]
    less = [said for said in less if not said.startswith("1.0 ")]
    return ", ".join([kept, *less])


def read_frontier(path: Path) -> Frontier:
    """The frontier in a file, or the one that `measure` left beside a model. Raises `AnysizeError` if there is none."""
    from anysize.core.errors import AnysizeError
    from anysize.core.frontier.frontier import Frontier

    file = path / "frontier.json" if path.is_dir() else path
    if file.is_file():
        return Frontier.from_json(file)
    if path.is_dir():
        raise AnysizeError(f"{path} has not been measured; run: anysize measure {path} DATA")
    raise AnysizeError(f"{path} does not exist; expected a measured model, or a frontier as JSON")


def bytes_of(text: str) -> int:
    """Bytes as people type them: ``256``, ``8KB`` (8000), ``8KiB`` (8192). Raises `AnysizeError`."""
    from anysize.core.errors import AnysizeError

    found = re.fullmatch(r"(\d*\.?\d+)\s*([a-z]*)", text.strip().lower())
    if not found or found[2] not in _UNITS or float(found[1]) * _UNITS[found[2]] < 1:
        raise AnysizeError(f"{text!r} is not a number of bytes; write it like 256, 8KB or 8KiB")
    return int(float(found[1]) * _UNITS[found[2]])
