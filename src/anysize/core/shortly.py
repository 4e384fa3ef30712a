"""What Python shows of an object: one short line, at once, also of one that is not whole."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
_LONGEST = 160


def shortly(tell: Callable[[T], str]) -> Callable[[T], str]:
    """A ``__repr__`` of what `tell` says of an object, which never raises: a debugger shows objects half made."""

    @functools.wraps(tell)
    def shown(self: T) -> str:
        try:
            said = " ".join(tell(self).split())
        except Exception:
            said = "not whole"
        cut = said if len(said) <= _LONGEST else f"{said[: _LONGEST - 2]} …"
        return f"{type(self).__name__}({cut})"

    return shown


def sizes(nesting: Iterable[Mapping[str, Any]]) -> str:
    """The values of each axis: ``dims=8,16,32``; of many the first, the last and how many there are."""
    axes: dict[str, dict[Any, None]] = {}
    for size in nesting:
        for axis, value in size.items():
            axes.setdefault(axis, {})[value] = None
    return " ".join(f"{axis}={_few(list(values))}" for axis, values in axes.items())


def _few(values: list[Any]) -> str:
    if len(values) <= 8:
        return ",".join(map(str, values))
    return f"{values[0]},{values[1]},...,{values[-1]} ({len(values)})"


def bytes_in_words(count: int) -> str:
    """A number of bytes with three digits: 512 bytes, 12.3 kB, 4.56 GB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}" if count < 1000 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count} bytes"
