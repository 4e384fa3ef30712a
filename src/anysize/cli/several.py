"""Results that are told one after the other as they come: a block each for people, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Several:
    """What a verb returns that has many results."""

    def __init__(self, results: Iterable[Any]) -> None:
        self._results = results

    def __iter__(self) -> Iterator[Any]:
        return iter(self._results)
