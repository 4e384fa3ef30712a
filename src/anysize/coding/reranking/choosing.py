"""
A language model chooses one of numbered candidates (RuCCoD's second stage), and its answer is read strictly.

What is no choice, or does not come, falls back to the nearest name; every such case is counted and told.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.records.documents import Span
from anysize.core.errors import AnysizeError, reason_of

Ask = Callable[[str], str]
"""From a prompt to what is said. Raises `OSError` where nothing comes."""
Missing = Literal["nearest", "leave out"]
"""What a training row becomes whose gold code is not among the candidates: labelled with the nearest, as RuCCoD's own
training has it, or left out."""


@dataclass
class Told:
    """How answers were read."""

    asked: int = 0
    chosen: int = 0
    nonsense: int = 0
    """Answers that are no number of a candidate."""
    failed: int = 0
    """Questions that were not answered in time, or by an error."""
    reason: str = ""
    """The first such error."""

    def __str__(self) -> str:
        fell = self.nonsense + self.failed
        said = f"the language model was asked {self.asked} times and chose {self.chosen}"
        if not fell:
            return said
        why = [f"{self.nonsense} answers named no candidate"] if self.nonsense else []
        why += [f"{self.failed} did not come ({self.reason})"] if self.failed else []
        return f"{said}; {' and '.join(why)}, so the nearest name stands there"

    def say(self) -> None:
        """On standard error."""
        sys.stderr.write(f"{self}\n")


@dataclass
class Reranker:
    """What is asked, among how many candidates."""

    ask: Ask
    candidates: int = 15
    told: Told = field(default_factory=Told)

    @classmethod
    def at(cls, address: str, candidates: int = 15) -> Reranker:
        """An endpoint in OpenAI's form."""
        from anysize.coding.reranking.endpoint import Endpoint

        return cls(Endpoint(address), candidates)

    def choose(self, dictionary: CodeDictionary, text: str, mention: str, codes: Sequence[str]) -> str | None:
        """One of `codes`, the nearest first; None if nothing was chosen."""
        shown = list(codes[: self.candidates])
        self.told.asked += 1
        try:
            said = self.ask(prompt(dictionary, text, mention, shown))
        except (OSError, AnysizeError) as error:
            self.told.failed += 1
            self.told.reason = self.told.reason or reason_of(error)
            return None
        place = choice(said, len(shown))
        if place is None:
            self.told.nonsense += 1
            return None
        self.told.chosen += 1
        return shown[place]


def prompt(dictionary: CodeDictionary, text: str, mention: str, codes: Sequence[str]) -> str:
    """The question: the document, the mention and the candidates, numbered from 1."""
    listed = "\n".join(f"{place}. {code} {dictionary.names.get(code, '')}" for place, code in enumerate(codes, start=1))
    return (
        f"Document: {text[:2000]}\nDiagnosis: {mention}\nCodes:\n{listed}\n"
        "Answer with the number of the code that fits the diagnosis best, and nothing else.\nNumber:"
    )


def choice(said: str, count: int) -> int | None:
    """The place (from 0) that an answer names: a number from 1 to `count`, alone or with a full stop; else None."""
    found = re.fullmatch(r"([0-9]{1,4})[.)]?", said.strip())
    number = int(found[1]) if found else 0
    return number - 1 if 1 <= number <= count else None


def reranked(
    reranker: Reranker, dictionary: CodeDictionary, text: str, spans: Sequence[Span], codes: Sequence[Sequence[str]]
) -> list[Span]:
    """The spans, each with the code that is chosen among its candidates; where none is, as it was."""
    made = []
    for span, listed in zip(spans, codes, strict=True):
        chosen = reranker.choose(dictionary, text, span.mention, listed) if listed else None
        if chosen is not None and chosen != span.code:
            span = replace(span, code=chosen, name=dictionary.names.get(chosen, ""))
        made.append(span)
    return made


@dataclass(frozen=True)
class Row:
    """A question to learn from and its answer, the number of the gold code."""

    question: str
    answer: str


def training_rows(
    dictionary: CodeDictionary,
    asked: Sequence[tuple[str, str, str, Sequence[str]]],
    candidates: int = 15,
    missing: Missing = "leave out",
) -> tuple[list[Row], int]:
    """
    Rows of (text, mention, gold code, codes by nearness), and in how many the gold code is not among the candidates.

    By ``missing="nearest"`` these are labelled with the nearest code, which is wrong; else they are left out.
    """
    rows, lacking = [], 0
    for text, mention, gold, codes in asked:
        shown = list(codes[:candidates])
        if gold not in shown:
            lacking += 1
            if missing == "leave out" or not shown:
                continue
        place = shown.index(gold) if gold in shown else 0
        rows.append(Row(prompt(dictionary, text, mention, shown), f" {place + 1}"))
    return rows, lacking
