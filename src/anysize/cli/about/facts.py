"""What a path holds, for people and for programs, and what its descriptions share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anysize.core.printable import printable


@dataclass(frozen=True)
class About:
    """What a path holds."""

    path: Path
    what: str
    """``model``, ``model of another library``, ``index``, ``frontier``, ``data`` or ``sentence-transformers model``."""
    facts: dict[str, Any]
    """Name -> value, in the order in which they are told; a value of None is not told."""
    sizes: list[dict[str, Any]] = field(default_factory=list)
    """For each size ``size`` (as typed) and what it costs in bytes."""
    hint: str = ""
    """What to type next, where that helps."""

    def text(self) -> str:
        """A line a fact, a row a size."""
        lines = [f"{words(self.path)}: {self.what}"]
        told = {name.replace("_", " "): value for name, value in self.facts.items() if value is not None}
        width = max(map(len, told), default=0)
        lines += [f"  {name.ljust(width)}  {words(value)}" for name, value in told.items()]
        if self.sizes:
            heads = list(self.sizes[0])
            rows = [[head.replace("_", " ") for head in heads]]
            rows += [[words(row[head]) for head in heads] for row in self.sizes]
            widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
            lines += ["", *("  " + "   ".join(map(str.rjust, row, widths)) for row in rows)]
        return "\n".join([*lines, *([f"next: {self.hint}"] if self.hint else [])])

    def to_json(self) -> dict[str, Any]:
        """The same, as plain values."""
        return {"path": str(self.path), "what": self.what, **self.facts, "sizes": self.sizes}


def words(value: Any) -> str:
    """A value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(one, str) and " " in one for one in value) else ", ").join(map(words, value))
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def optional(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return as_object(found)


def as_object(found: Any) -> dict[str, Any]:
    """What was found, if it is an object; else an empty one."""
    return found if isinstance(found, dict) else {}


def bytes_on_disk(path: Path) -> int:
    """Of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
