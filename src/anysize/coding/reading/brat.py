"""
Brat stand-off files: ``NAME.txt`` beside ``NAME.ann``, read with either rule for newlines, and written.

``T1 <tab> label <start> <end> <tab> mention`` is a span and ``N1 <tab> Reference T1 codes:node <tab> CODE`` its code.
Some tools count a newline as two characters though the files hold one; a reader tells which by what fits.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from anysize.coding.records.dictionary import latin
from anysize.coding.records.documents import Document, Span
from anysize.core.errors import DataError

Newline = Literal["auto", "lf", "crlf"]
_WORDS = {"lf": "one character", "crlf": "two characters"}
_LINE = re.compile(r"[A-Z*#]\d*\t")
_NEARBY = 200
"""Characters to both sides in which a mention is looked for that does not stand where it is said to."""


@dataclass
class Found:
    """How the spans of one split were read."""

    exact: Counter[str] = field(default_factory=Counter)
    """Rule -> spans that hold their mention by it."""
    spans: int = 0
    moved: int = 0
    lost: int = 0
    uncoded: int = 0
    repeated: int = 0
    strange: list[str] = field(default_factory=list)

    def notes(self, split: str, rule: str, asked: Newline) -> tuple[str, ...]:
        """What a reader should know of it, in sentences."""
        said = []
        other = "crlf" if rule == "lf" else "lf"
        if rule == "crlf" and asked == "auto":
            said.append(
                f"{split}: offsets count a newline as two characters ({self.exact['crlf']:,} of {self.spans:,} spans "
                f"then hold their mention, {self.exact['lf']:,} if it is one), so they are read that way"
            )
        elif asked != "auto" and self.exact[other] > self.exact[rule]:
            said.append(
                f"{split}: {self.exact[rule]:,} of {self.spans:,} spans hold their mention if a newline is "
                f"{_WORDS[rule]}, and {self.exact[other]:,} if it is {_WORDS[other]}: newline={other} would fit better"
            )
        if self.moved:
            said.append(f"{split}: {self.moved} spans do not stand where they are said to, and were found nearby")
        if self.lost:
            said.append(f"{split}: {self.lost} spans hold something else than their mention, and are left out")
        if self.repeated:
            said.append(
                f"{split}: {self.repeated} spans have the id of another of their file; the last of each id is read, as "
                "the released scorer does"
            )
        if self.uncoded:
            said.append(f"{split}: {self.uncoded} spans have no code")
        if self.strange:
            said.append(f"{split}: {len(self.strange)} lines are no annotation, the first in {self.strange[0]}")
        return tuple(said)


def read_split(
    files: Sequence[tuple[str, str, str | None]], split: str, newline: Newline = "auto"
) -> tuple[list[Document], tuple[str, ...], Found]:
    """
    Documents of (name, text, annotations or None), what to know of them, and counts.

    With ``newline="auto"`` the rule is the one by which more spans hold their mention. Offsets of the documents count
    a newline as one character. Raises `DataError`, naming file and line, for an annotation that cannot be read.
    """
    found = Found()
    read = []
    for name, content, marks in files:
        text = content.replace("\r\n", "\n").replace("\r", "\n")
        spans = [] if marks is None else list(spans_of(name, marks, found))
        returns = _Returns(text)
        for span in spans:
            found.exact["lf"] += text[span.start : span.end] == span.mention
            found.exact["crlf"] += returns.slice(span) == span.mention
        read.append((name, text, spans, returns))
    rule = max(("lf", "crlf"), key=lambda one: found.exact[one]) if newline == "auto" else newline
    documents = []
    for name, text, spans, returns in read:
        kept = []
        for span in spans:
            start, end = (span.start, span.end) if rule == "lf" else returns.plain(span)
            placed = _placed(text, replace(span, start=start, end=end))
            if placed is None:
                found.lost += 1
                continue
            found.moved += (placed.start, placed.end) != (start, end)
            found.uncoded += placed.code is None
            kept.append(placed)
        documents.append(Document(name, text, tuple(kept), split))
    return documents, found.notes(split, rule, newline), found


class _Returns:
    """A text in which a newline counts two."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\n", "\r\n")
        self._ends = [place for place, letter in enumerate(self.text) if letter == "\n"]

    def slice(self, span: Span) -> str:
        return self.text[span.start : span.end].replace("\r\n", "\n")

    def plain(self, span: Span) -> tuple[int, int]:
        """The same place where a newline counts one."""
        start, end = (place - bisect.bisect_left(self._ends, place) for place in (span.start, span.end))
        return start, end


def _placed(text: str, span: Span) -> Span | None:
    """The span where its mention stands, at the nearest place if not at its own; None if nowhere."""
    if text[span.start : span.end] == span.mention and span.mention:
        return span
    low = max(0, span.start - _NEARBY)
    near = text[low : span.end + _NEARBY]
    places = [low + one.start() for one in re.finditer(re.escape(span.mention), near)] if span.mention else []
    if not places:
        return None
    start = min(places, key=lambda place: abs(place - span.start))
    return replace(span, start=start, end=start + len(span.mention))


def spans_of(name: str, annotations: str, found: Found) -> Iterator[Span]:
    """
    The spans of one file of annotations, with the offsets that stand there.

    Of several spans with one id the last is read, as the released scorer does. Raises `DataError`, naming the line, for
    one that cannot be read.
    """
    spans: dict[str, list[Any]] = {}
    open_: list[Any] | None = None
    for number, line in enumerate(annotations.replace("\r\n", "\n").split("\n"), start=1):
        where = f"{name}.ann line {number}"
        if not _LINE.match(line):
            if line.strip() and open_ is None:
                found.strange.append(where)
            elif line.strip() and open_ is not None:
                open_[2] += "\n" + line  # the rest of a mention that holds a newline
            continue
        key, body, *rest = line.split("\t", 2)
        open_ = None
        if key[0] == "T":
            places = re.fullmatch(r"\S+ (-?\d+) (?:[\d; ]*[; ])?(-?\d+)", body)
            if places is None or not rest:
                raise DataError(f"{where} is no span; expected T1, a label with two offsets and the mention, with tabs")
            open_ = [int(places[1]), int(places[2]), rest[0], None]
            found.repeated += key in spans
            spans[key] = open_
        elif key[0] == "N":
            words = body.split()
            if len(words) < 2 or not rest:
                raise DataError(f"{where} is no code; expected N1, Reference T1 with a node, and the code, with tabs")
            if words[1] in spans:
                spans[words[1]][3] = latin(rest[0])
            else:
                found.strange.append(where)
    found.spans += len(spans)
    yield from (Span(start, end, mention, code) for start, end, mention, code in spans.values())


def annotations_of(document: Document) -> str:
    """The spans of a document as brat keeps them; a newline counts one."""
    lines = []
    for number, span in enumerate(document.spans, start=1):
        mention = span.mention.replace("\n", " ")
        lines.append(f"T{number}\ticd_code {span.start} {span.end}\t{mention}\n")
        if span.code is not None:
            lines.append(f"N{number}\tReference T{number} ICD_codes:{span.code}\t{span.code}\n")
    return "".join(lines)


def write_folder(folder: Path, ids: Sequence[str], outputs: Iterable[Any]) -> None:
    """Texts and their spans, as a coder gives them, as NAME.txt and NAME.ann; an id's slashes are folders."""
    for name, one in zip(ids, outputs, strict=True):
        parts = [part for part in name.split("/") if part.strip(". ")]
        home = folder.joinpath(*parts[:-1])
        home.mkdir(parents=True, exist_ok=True)
        spans = (Span(span["start"], span["end"], span["mention"], span["code"]) for span in one["spans"])
        for ending, content in ((".txt", one["text"]), (".ann", annotations_of(Document(name, "", tuple(spans))))):
            (home / f"{parts[-1] if parts else 'text'}{ending}").write_text(content, "utf-8", newline="\n")
