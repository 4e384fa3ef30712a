"""What an export was checked by: the engine that will run it, on which texts, how far apart, and how far it may be."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass
from typing import Any

from anysize.core.errors import AnysizeError

TEXTS = (
    "A short sentence.",
    "run a function after a delay",
    "The quick brown fox jumps over the lazy dog, while seventeen other animals watch from behind the old wooden fence "
    "and wonder, as they have done every morning since the spring, whether it will ever do anything else.",
    "NASA launched TWO Rockets from Cape Canaveral; nobody at McDonald's noticed.",
    "In 1984 it cost $1,234.56 (or 987.65 EUR), 3.5% more than in 1983: 42 x 17 = 714.",
    "Crème brûlée, naïve façade, Zürich, Ærøskøbing, Łódź, São Paulo, jalapeño, Đà Nẵng.",
    "Привет, мир! Γειά σου Κόσμε. 你好，世界。",  # noqa: RUF001 (other scripts are meant)
    "Thumbs up 👍🏽 and a rocket 🚀, “quoted” text – with dashes — and an ellipsis…",  # noqa: RUF001 (so are these marks)
    "def f(x):\n    return x ** 2  # squares\n\n\tf(3)",
    "x",
    " ",
    "",
)
"""Long and short, capitals, numbers, accents, other alphabets, emoji, spaces, nearly nothing."""


@dataclass(frozen=True)
class Check:
    """
    An export was run by `engine`, and `compared` (for example "vectors of 12 texts") was found this far from ours.

    `difference` is a relative distance, as `apart` gives it, and at most `bound`.
    """

    engine: str
    version: str
    compared: str
    difference: float
    bound: float

    def __post_init__(self) -> None:
        """Raise `AnysizeError` if the difference is above the bound, or no number."""
        if not self.difference <= self.bound:
            raise AnysizeError(
                f"{self.compared}: {self.engine} {self.version} is {self.difference:.2g} away from the model, and "
                f"{self.bound:g} is allowed, so nothing was written"
            )

    def text(self) -> str:
        """One line."""
        found = "the same" if self.difference == 0 else f"{self.difference:.1g} apart (at most {self.bound:g} allowed)"
        return f"checked by {self.engine} {self.version}: {self.compared}: {found}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"checked": True, **asdict(self)}


@dataclass(frozen=True)
class NotChecked:
    """The engine is not installed here; `install` says how it would be."""

    engine: str
    install: str

    def text(self) -> str:
        """One line."""
        return f"not checked, since {self.engine} is not installed; {self.install}, then write it again"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"checked": False, **asdict(self)}


@dataclass(frozen=True)
class Exported:
    """Whose format was written, what checked it, and what a user of the file should know."""

    format: str
    checks: tuple[Check | NotChecked, ...] = ()
    notes: tuple[str, ...] = ()
    how: str = ""
    """How to load it, in a line."""

    def lines(self) -> list[str]:
        """What to print below the line that says what was written where."""
        return [check.text() for check in self.checks] + [f"note: {note}" for note in self.notes]

    def told(self) -> dict[str, Any]:
        """Checks and notes as plain values."""
        return {"checks": [check.to_json() for check in self.checks], "notes": list(self.notes)}


def version_of(package: str) -> str | None:
    """The installed version of a package; None if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def apart(found: Any, expected: Any) -> float:
    """
    The largest distance between rows of two arrays (..., d), relative to the length of the expected row.

    A row that should be zero counts against the longest. Infinite where the shapes differ or a value is no number.
    """
    import numpy as np

    mine, theirs = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    if mine.shape != theirs.shape or not np.isfinite(theirs).all():
        return float("inf")
    lengths = np.linalg.norm(mine, axis=-1)
    lengths = np.where(lengths > 0, lengths, max(lengths.max(initial=0.0), 1e-30))
    return float((np.linalg.norm(theirs - mine, axis=-1) / lengths).max(initial=0.0))
