"""Documents, and the places in them that stand for a code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_OPEN = {")": "(", "]": "[", "»": "«"}


@dataclass(frozen=True, order=True)
class Span:
    """A place in a document, from character `start` up to `end`, and the code that it stands for."""

    start: int
    end: int
    mention: str
    """The characters there; in a file that miscounts, the annotator's own copy of them."""
    code: str | None = None
    name: str = ""
    """Of the code."""
    score: float = 1.0
    """The share of the votes that the code has, from 0 to 1."""
    others: tuple[tuple[str, float], ...] = ()
    """The next best codes with their shares."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        others = [{"code": code, "score": round(score, 4)} for code, score in self.others]
        return {
            "start": self.start,
            "end": self.end,
            "mention": self.mention,
            "code": self.code,
            "name": self.name,
            "score": round(self.score, 4),
            **({"others": others} if others else {}),
        }


@dataclass(frozen=True)
class Document:
    """A text with its spans, in their order. Newlines are single characters, whatever its file has."""

    name: str
    text: str
    spans: tuple[Span, ...] = ()
    split: str = "train"

    @property
    def codes(self) -> frozenset[str]:
        """The distinct codes of its spans."""
        return frozenset(span.code for span in self.spans if span.code is not None)


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """
    The span without what is neither letter nor digit at its two ends.

    A closing bracket stays with its opening one. What holds no letter or digit at all stays as it is.
    """
    first, last = start, end
    while first < last and not text[first].isalnum():
        first += 1
    while last > first and not text[last - 1].isalnum():
        opening = _OPEN.get(text[last - 1])
        if opening is not None and opening in text[first : last - 1]:
            break
        last -= 1
    return (start, end) if first == last else (first, last)


def normalised(mention: str) -> str:
    """Lower case, e for yo, letters and digits alone, single blanks: what two spellings of one name share."""
    return " ".join(re.findall(r"[^\W_]+", mention.lower().replace("ё", "е")))


def without_overlaps(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Of two spans that overlap the shorter alone, in order of their places."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.end - one.start, one.start)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return tuple(sorted(kept))


def overlapping(spans: Sequence[Span]) -> int:
    """How many pairs of spans overlap."""
    ordered = sorted(spans)
    return sum(other.start < span.end for row, span in enumerate(ordered) for other in ordered[row + 1 :])
