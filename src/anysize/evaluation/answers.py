"""Questions and their answers: how often a model says what it should, by kind of question."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.faces import Answers
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

if TYPE_CHECKING:
    from anysize.core.data.data import Data

_ARTICLES = re.compile(r"\b(a|an|the)\b")


class Questions(NamedTuple):
    """What is asked, and what may be answered."""

    rows: list[list[dict[str, Any]]]
    """The parts of each question: ``{"image": file}`` and ``{"text": words}``."""
    answers: list[Sequence[str]]
    """What people said, one answer or several."""
    kinds: list[str] | None
    """What kind of question each is, where the data say so."""


def questions_of(data: Data, part: Literal["all", "learn", "held out"] = "all") -> Questions:
    """
    The questions of a table with the columns image, question, answer and perhaps kind.

    Those to learn from leave out a tenth of the pictures, which are held out. Raises `DataError` if a column lacks.
    """
    table = data.table
    if table is None:
        raise DataError(f"{data.name} holds no questions; expected the columns image, question and answer")
    if part != "all":
        table = table.held_out("image", data.name)[part == "held out"]
    rows = [
        [{"image": image}, {"text": question}]
        for image, question in zip(table["image"], table["question"], strict=True)
    ]
    answers: list[Sequence[str]] = [[one] if isinstance(one, str) else list(one) for one in table["answer"]]
    return Questions(rows, answers, list(table["kind"]) if "kind" in table else None)


def plain(answer: str) -> str:
    """An answer without capitals, punctuation and articles, as VQA compares them."""
    kept = answer.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(_ARTICLES.sub(" ", kept).split())


def right(said: str, wanted: Sequence[str]) -> float:
    """1 for the answer there is; of several people's (VQA), a third for each who gave it, at most 1."""
    same = sum(plain(said) == plain(one) != "" for one in wanted)
    return float(same > 0) if len(wanted) == 1 else min(same / 3, 1.0)


@dataclass(frozen=True)
class AnswersEvaluator(Evaluator):
    """``accuracy`` of answers, the likeliest token first at every step, and ``accuracy_KIND`` for each kind."""

    face = Answers
    needs = "the columns image, question and answer"
    max_new_tokens: int = 16
    """Tokens of an answer, at most."""
    batch_size: int = 32
    """Questions at a time."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise AnysizeError(f"{name.replace('_', '-')} must be above zero; got {getattr(self, name)}")

    def accepts(self, data: Data) -> bool:
        """Whether there are pictures, questions and answers."""
        return data.table is not None and all(name in data.table for name in ("image", "question", "answer"))

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """All questions, or those about pictures that training left out."""
        asked = questions_of(data, "held out" if held_out else "all")
        kinds = "" if asked.kinds is None else f" of {len(set(asked.kinds))} kinds"
        kept = " about pictures held out from training" if held_out else ""
        empty = sum(not any(plain(one) for one in wanted) for wanted in asked.answers)
        notes = (f"{empty} questions have an empty answer, which counts as wrong",) if empty else ()
        return Task(
            f"answers: {len(asked.rows)} questions{kinds}{kept}", "accuracy", "questions", (asked, {}), notes=notes
        )

    def score(self, view: Answers, task: Task) -> Scores:
        """Of each question, whether it is answered; time is that to the first token for one question."""
        asked, seen = task.on
        if view.origin not in seen:  # what all sizes answer from, one pass over the pictures
            seen[view.origin] = view.read(asked.rows, batch_size=self.batch_size, folder=task.scratch)
        said = view.answers(seen[view.origin], max_new_tokens=self.max_new_tokens, batch_size=self.batch_size)
        marks = np.array(
            [
                right(one, wanted) if any(map(plain, wanted)) else 0.0
                for one, wanted in zip(said, asked.answers, strict=True)
            ]
        )
        metrics = {}
        for kind in sorted(set(asked.kinds or ())):
            metrics[f"accuracy_{kind}"] = float(marks[np.array(asked.kinds) == kind].mean())
        first = asked.rows[:1]
        return Scores({"accuracy": marks}, metrics, lambda: view.first_token(first))
