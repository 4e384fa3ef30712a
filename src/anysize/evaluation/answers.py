"""Questions and their answers: how often a model says what it should, by kind of question."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from anysize.core.arguments import shown
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.faces import Answers
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.data.records import Table

NEEDED = "image, question and answer, or image and conversations"
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
    The questions of a table with the columns image, question, answer and perhaps kind, or image and conversations.

    A conversation (LLaVA) is a list of turns, ``{"from": "human", "value": ...}`` and ``{"from": "gpt", ...}``; each
    answer is learnt by itself. The part to learn from leaves out a tenth of the pictures, which are held out.
    Raises `DataError` if a column lacks, or there are no questions.
    """
    table = data.table
    if table is None or not _asks(table):
        raise DataError(f"{data.name} holds no questions; expected the columns {NEEDED}")
    if part != "all":
        table = table.held_out("image", data.name)[part == "held out"]
    if "conversations" in table:
        found = [
            (image, *pair)
            for image, turns in zip(table["image"], table["conversations"], strict=True)
            for pair in _turns(turns)
        ]
    else:
        found = list(zip(table["image"], table["question"], table["answer"], strict=True))
    for image, question, _ in found:
        if not isinstance(question, str) or not question.replace("<image>", "").strip():
            raise DataError(f"the question about {shown(image)} is {shown(question)}; expected words")
    rows = [[{"image": image}, {"text": question}] for image, question, _ in found]
    answers = [_answers(image, one) for image, _, one in found]
    return Questions(rows, answers, list(table["kind"]) if "kind" in table and "question" in table else None)


def _asks(table: Table) -> bool:
    return "image" in table and ("conversations" in table or ("question" in table and "answer" in table))


def _turns(turns: Any) -> Iterator[tuple[str, str]]:
    """What is asked and answered, turn by turn. Raises `DataError` for turns that are written otherwise."""
    said = [one.get("value") if isinstance(one, Mapping) else None for one in turns or ()]
    if len(said) % 2 or not all(isinstance(one, str) for one in said):
        raise DataError(f"a conversation is {shown(turns)}; expected turns of human and gpt, each with a value")
    yield from zip(said[::2], said[1::2], strict=True)


def _answers(image: Any, said: Any) -> Sequence[str]:
    """What a table says is right: a text or a number, several of these, or nothing."""
    listed = [said] if isinstance(said, (str, int, float)) else list(said) if isinstance(said, (list, tuple)) else said
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(one, (str, int, float)) for one in listed):
        raise DataError(f"the answer about {shown(image)} is {shown(said)}; expected a text, a number, or several")
    return [str(int(one)) if isinstance(one, float) and one.is_integer() else str(one) for one in listed]


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
    needs = f"the columns {NEEDED}"
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
        return data.table is not None and _asks(data.table)

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
