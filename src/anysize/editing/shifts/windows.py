"""
Where a target is cut into windows: every so many tokens, at sentences, or where the model is most surprised.

AnyEdit and muKE cut every so many tokens; AnyEdit++ (arXiv 2606.01053) at surprise. A short tail belongs to the window
before it: a window of a few tokens is mostly the end-of-text token, which a shift of its own would have to force.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from anysize.core.arguments import shown
from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class Target:
    """What is cut: the text of each token, and how surprised the unedited model is by each, in nats."""

    pieces: Sequence[str]
    surprise: Sequence[float]


Splitter = Callable[[Target, int], Sequence[int]]
"""Gives the places where windows begin, the first at 0, for a target and a length that they should have."""


def fixed(target: Target, length: int) -> list[int]:
    """Every `length` tokens."""
    return list(range(0, len(target.pieces), length))


def sentence(target: Target, length: int) -> list[int]:
    """After sentences, as soon as a window has half of `length`."""
    starts = [0]
    for place, piece in enumerate(target.pieces[:-1]):
        if _ENDS.search(piece) and place + 1 - starts[-1] >= length / 2:
            starts.append(place + 1)
    return starts


_ENDS = re.compile(r"[.!?\n][\"')\]]*\s*$")


def surprisal(target: Target, length: int) -> list[int]:
    """As many windows as `fixed` gives, begun at the most surprising tokens that lie half of `length` apart."""
    wanted = len(fixed(target, length))
    bounds = [0, len(target.pieces)]
    for place in sorted(range(1, len(target.pieces)), key=lambda place: -target.surprise[place]):
        if len(bounds) <= wanted and all(abs(place - one) >= length / 2 for one in bounds):
            bounds.append(place)
    return sorted(bounds)[:-1]


SPLITTERS: dict[str, Splitter] = {"fixed": fixed, "sentence": sentence, "surprisal": surprisal}


def windows(target: Target, length: int | None, splitter: str | Splitter = "fixed") -> list[int]:
    """
    Where windows begin, and the end of the last: ``[0, 20, 40, 57]``. One window for all without a `length`.

    Raises `AnysizeError` for a splitter that is not there, and for places that are not whole numbers that rise from 0
    inside the target.
    """
    count = len(target.pieces)
    if length is None:
        return [0, count]
    split = SPLITTERS.get(splitter) if isinstance(splitter, str) else splitter
    if split is None:
        raise AnysizeError(f"there is no splitter {splitter!r}; there are: {', '.join(SPLITTERS)}, or a function")
    starts = list(split(target, length))
    rising = all(one < other for one, other in pairwise(starts))
    if not starts or starts[0] != 0 or not rising or not all(type(one) is int for one in starts) or starts[-1] >= count:
        raise AnysizeError(
            f"a splitter gave {shown(starts)} for {count} tokens; expected where windows begin, rising from 0"
        )
    if len(starts) > 1 and count - starts[-1] < length / 2:
        starts.pop()
    return [*starts, count]
