"""What a family adds to the page of a frontier."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A part of a page, below its chart. It loads nothing, but may hold pictures as ``data:`` addresses."""

    title: str
    body: str
    """HTML; whoever makes it has escaped what came from data."""
    style: str = ""
    """CSS, in the colours of the page: ``--paper``, ``--ink``, ``--soft``, ``--line``, ``--card``, ``--accent``."""
