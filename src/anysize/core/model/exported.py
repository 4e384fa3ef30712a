"""What an export tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exported:
    """A model that was written for another library."""

    format: str
    """Whose format it is."""
    how: str
    """How to load it, in a line."""
