"""What a reader should know of the data, told on standard error before the long work by every verb that reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anysize.core.data.data import Data


def read_told(source: str, by: str = "anysize.core.data.read:read") -> Data:
    """The data at `source`, read by the function that `by` names, its notes told."""
    from anysize.core.registry import named

    data: Data = named(by)(source)
    tell(data.notes)
    return data


def tell(notes: Iterable[str]) -> None:
    """A line each, which is wrapped on a terminal."""
    from anysize.cli.wrapping import for_a_terminal

    for note in notes:
        sys.stderr.write(for_a_terminal(f"note: {note}", sys.stderr) + "\n")
    sys.stderr.flush()
