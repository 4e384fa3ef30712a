"""Text in lines that the terminal can show."""

from __future__ import annotations

import shutil
import textwrap
from typing import TextIO

WIDEST = 100
"""Columns, beyond which lines are hard to read, however wide the terminal is."""


def columns() -> int:
    """Columns to write in: those of the terminal or of COLUMNS, 80 where neither says, and never very many."""
    return max(20, min(WIDEST, shutil.get_terminal_size().columns))


def wrapped(text: str, *, first: str = "", rest: str | None = None) -> str:
    """Text in lines no longer than the terminal, after `first`; all lines but the first after `rest`, or indented."""
    return textwrap.fill(
        text,
        columns(),
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def for_a_terminal(line: str, stream: TextIO) -> str:
    """A sentence as it is printed there: wrapped on a terminal, on one line for programs."""
    return wrapped(line, rest="  ") if stream.isatty() else line
