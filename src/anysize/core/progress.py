"""How far long work has come, on standard error: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

View = TypeVar("View")

EVERY = 10.0
"""Seconds until the first line, and between two; work that is done sooner says nothing."""


class Lines:
    """What stands in for a bar of tqdm where there is no terminal: the same calls, a line at a time."""

    def __init__(self, total: int | None, what: str, unit: str, done: int) -> None:
        self.total, self.what, self.unit, self.n = total, what, unit, done
        self._begun, self._first = time.monotonic(), done
        self._next = self._begun + EVERY
        self._more = ""

    def update(self, count: int = 1) -> None:
        """So much more is done; a line, if it is time for one."""
        self.n += count
        now = time.monotonic()
        if now < self._next or self.n == self._first:
            return
        self._next = now + EVERY
        so_far, left = f"{self.n:,}", ""
        if self.total is not None:
            rest = max(0, self.total - self.n) * (now - self._begun) / (self.n - self._first)
            so_far, left = f"{self.n:,} of {self.total:,}", f", about {duration(rest)} left"
        sys.stderr.write(f"{self.what}: {so_far}{self.unit}{self._more}{left}\n")
        sys.stderr.flush()

    def set_postfix(self, **values: str) -> None:
        """What else to tell in the next line."""
        self._more = "".join(f", {name} {value}" for name, value in values.items())

    def close(self) -> None:
        """Nothing is left open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bar(total: int | None, what: str, unit: str = "", *, done: int = 0, show: bool = True, leave: bool = True) -> Any:
    """
    A bar over `total` steps, for ``with``, with ``update(count)``, ``set_postfix(...)`` and ``close()``.

    `total` is None where it is not known. Of several processes the first tells; with `show=False` none does. A bar that
    is not to `leave` goes when it is done.
    """
    show = show and os.environ.get("RANK", "0") == "0"
    if show and not sys.stderr.isatty():
        return Lines(total, what, unit, done)
    from tqdm import tqdm

    return tqdm(total=total, initial=done, desc=what, unit=unit or "it", disable=not show, leave=leave)


def each(things: Sequence[View], what: str, unit: str) -> Iterator[View]:
    """One thing after another, with how many of them are done."""
    with bar(len(things), what, unit) as shown:
        for thing in things:
            yield thing
            shown.update(1)


def each_view(views: Mapping[str, Sequence[View]], what: str = "measuring") -> Iterator[tuple[str, View]]:
    """Every arm's models, one by one, with how far it has come."""
    with bar(sum(map(len, views.values())), what, " sizes") as shown:
        for arm, models in views.items():
            for model in models:
                yield arm, model
                shown.update(1)


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
