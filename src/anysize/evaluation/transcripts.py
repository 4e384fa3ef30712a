"""What was said, and what a model wrote down: word and character errors, by jiwer, over whole corpora."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from anysize.core.arguments import shown
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.faces import Transcribes
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.data.records import Table

NEEDED = "audio, video or both, and text"
Normalisation = Literal["plain", "case", "none"]


class Transcripts(NamedTuple):
    """Clips and what is said in them."""

    rows: list[list[dict[str, Any]]]
    """The parts of each: ``{"audio": file}`` and ``{"video": file}``."""
    texts: list[str]
    corpora: list[str] | None
    """Where each comes from, if the data say so in a column corpus."""


def transcripts_of(data: Data, part: Literal["all", "learn", "held out"] = "all") -> Transcripts:
    """
    The clips of a table with the columns audio, video or both, and text.

    The part to learn from is, with a column split, what it calls train, and held out is what it calls test (else all
    that is not train); without one, a tenth of the distinct clips is held out. Raises `DataError` for other data.
    """
    table = data.table
    if table is None or "text" not in table or not table.kinds.keys() & {"audio", "video"}:
        raise DataError(f"{data.name} holds no transcripts; expected the columns {NEEDED}")
    axes = [axis for axis in ("audio", "video") if axis in table.kinds]
    if part != "all":
        whole = next((axis for axis in axes if None not in table[axis]), axes[0])
        table = _part(table, part, whole, data.name)
    texts = list(table["text"])
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"row {row} (from 0) of {data.name} has the text {shown(text)}; expected what is said")
    rows: list[list[dict[str, Any]]] = [
        [{axis: table[axis][row]} for axis in axes if table[axis][row] is not None] for row in range(len(table))
    ]
    return Transcripts(rows, texts, [str(one) for one in table["corpus"]] if "corpus" in table else None)


def _part(table: Table, part: str, by: str, name: str) -> Table:
    if "split" not in table:
        return table.held_out(by, name)[part == "held out"]
    split = [str(one) for one in table["split"]]
    wanted = "test" if part == "held out" and "test" in split else None
    rows = [row for row, one in enumerate(split) if (one == "train") == (part == "learn") and wanted in (None, one)]
    if not rows:
        raise DataError(f"no row of {name} is in the split {'train' if part == 'learn' else 'test'}")
    return table.take(rows)


def normalised(text: str, how: Normalisation) -> str:
    """``plain``: lower case, no punctuation, single spaces; ``case``: lower case, single spaces; ``none``: as it is."""
    import jiwer

    steps: list[Any] = [jiwer.ToLowerCase()] if how != "none" else []
    steps += [jiwer.RemovePunctuation()] if how == "plain" else []
    found: str = jiwer.Compose([*steps, jiwer.RemoveMultipleSpaces(), jiwer.Strip()])(text)
    return found


def errors(wanted: str, said: str) -> tuple[int, int, int, int]:
    """Word errors, words, character errors and characters of one transcript that is not empty."""
    import jiwer

    words, letters = jiwer.process_words(wanted, said), jiwer.process_characters(wanted, said)
    counts = [one.substitutions + one.deletions + one.insertions for one in (words, letters)]
    return counts[0], len(words.references[0]), counts[1], len(letters.references[0])


@dataclass(frozen=True)
class WordErrorsEvaluator(Evaluator):
    """``wer`` and ``cer``: errors over words and characters of the whole corpus; ``wer_CORPUS`` for each of them."""

    face = Transcribes
    needs = f"the columns {NEEDED}"
    max_new_tokens: int = 64
    """Tokens of a transcript, at most."""
    batch_size: int = 16
    """Clips at a time."""
    normalize: Normalisation = "plain"
    """What is compared: without capitals and punctuation, without capitals, or as it is."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise AnysizeError(f"{name.replace('_', '-')} must be above zero; got {getattr(self, name)}")

    def accepts(self, data: Data) -> bool:
        """Whether there are clips and transcripts."""
        table = data.table
        return table is not None and "text" in table and bool(table.kinds.keys() & {"audio", "video"})

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """All clips; or those that training left out, also where a column split says so."""
        split = data.table is not None and "split" in data.table and "train" in map(str, data.table["split"])
        found = transcripts_of(data, "held out" if held_out or split else "all")
        wanted = [normalised(text, self.normalize) for text in found.texts]
        kept = [row for row, text in enumerate(wanted) if text]
        if not kept:
            raise DataError(
                f"every transcript of {data.name} is empty after normalisation; there is nothing to compare"
            )
        notes = []
        if len(kept) < len(wanted):
            notes.append(f"{len(wanted) - len(kept)} transcripts are empty after normalisation and are left out")
        if all(len(wanted[row].split()) == 1 and len(wanted[row]) > 8 for row in kept):
            notes.append("transcripts have no spaces, so that a whole one is a word: look at cer, not at wer")
        chosen = Transcripts(
            [found.rows[row] for row in kept],
            [wanted[row] for row in kept],
            None if found.corpora is None else [found.corpora[row] for row in kept],
        )
        raw = [found.texts[row] for row in kept]
        part = " held out from training" if held_out or split else ""
        said = f"transcripts: {len(kept)} clips{part}, normalisation {self.normalize}"
        return Task(said, "wer", "clips", (chosen, raw, {}), notes=tuple(notes))

    def score(self, view: Transcribes, task: Task) -> Scores:
        """Errors of each clip, over the mean length of all, so that their mean is the corpus's rate."""
        asked, raw, seen = task.on
        if view.origin not in seen:  # what all sizes are made of, one pass of the encoders
            seen[view.origin] = view.read(asked.rows, batch_size=self.batch_size, folder=task.scratch)
        read = seen[view.origin]
        begin = time.perf_counter()
        said = view.answers(read, max_new_tokens=self.max_new_tokens, batch_size=self.batch_size)
        seconds = time.perf_counter() - begin
        pairs = zip(asked.texts, said, strict=True)
        found = np.array([errors(text, normalised(one, self.normalize)) for text, one in pairs], dtype=float)
        metrics = {"real_time_factor": seconds / sum(read.seconds)}
        above = np.mean(np.array(view.text_tokens(raw)) > self.max_new_tokens)
        if above:
            metrics["share_above_cap"] = float(above)
        for corpus in sorted(set(asked.corpora or ())):
            part = found[np.array(asked.corpora) == corpus].sum(0)
            metrics[f"wer_{corpus}"] = float(part[0] / part[1])
        first = asked.rows[:1]
        units = {"wer": found[:, 0] / found[:, 1].mean(), "cer": found[:, 2] / found[:, 3].mean()}
        return Scores(units, metrics, lambda: view.first_token(first))


def word_error_rate(wanted: Sequence[str], said: Sequence[str], how: Normalisation = "plain") -> float:
    """Errors over words of a whole corpus; references that are empty after normalisation count for nothing."""
    pairs = [(normalised(one, how), normalised(other, how)) for one, other in zip(wanted, said, strict=True)]
    found = np.array([errors(one, other)[:2] for one, other in pairs if one], dtype=float).sum(0)
    return float(found[0] / found[1])
