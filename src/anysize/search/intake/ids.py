"""Ids: text, or a number written as text; anything else is refused by its place, never turned into a word."""

from __future__ import annotations

import math
import numbers
import uuid
from collections.abc import Iterable

from anysize.core.arguments import shown
from anysize.core.errors import DataError


def id_of(value: object, what: str) -> str:
    """One id. Raises `DataError`, naming `what`, for an empty one, None, NaN or a thing of another kind."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not isinstance(value, (str, uuid.UUID)) and not number:
        raise DataError(f"{what} has the id {shown(value)}; expected text or a number")
    if not str(value):
        raise DataError(f"{what} has an empty id; expected text or a number")
    return str(value)


def ids_of(values: object, what: str) -> list[str]:
    """One id, or several, as a list. Raises `DataError`."""
    if isinstance(values, (str, numbers.Real, uuid.UUID)):
        return [id_of(values, what)]
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise DataError(f"{what} is {shown(values)}; expected an id, or several")
    return [id_of(value, f"{what} {row} (from 0)") for row, value in enumerate(values)]


class Numbers:
    """Ids of items that have none: consecutive numbers, passing over those that are taken."""

    def __init__(self, start: int) -> None:
        self.next = start

    def take(self, count: int, taken: set[str]) -> list[str]:
        """The next `count`."""
        found: list[str] = []
        while len(found) < count:
            if (name := str(self.next)) not in taken:
                found.append(name)
            self.next += 1
        return found
