"""Data for task adapters: what each task learns from, and with which loss (arXiv 2409.10173, section 4.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from anysize.core.errors import AnysizeError, DataError, nearest

if TYPE_CHECKING:
    import torch

    from anysize.core.data.data import Data

Shape = Literal["pairs", "triplets", "scored pairs", "labelled texts"]

SHAPES: dict[str, str] = {
    "retrieval": "anchor, positive[, negative], or judgements",
    "text-matching": "sentence1, sentence2, score or anchor, positive[, negative]",
    "classification": "text, label",
    "separation": "text, label",
}
"""What data may be given for a task -> the columns it needs."""
TEMPERATURES = {"retrieval": 0.05, "text-matching": 0.05, "classification": 0.02, "separation": 0.02}
"""The paper's, appendix A1."""


@dataclass(frozen=True)
class TaskSet:
    """One data set of one task: columns of texts, row by row, and a label each."""

    task: str
    name: str
    fingerprint: str
    shape: Shape
    columns: list[list[str]]
    """Of labelled texts, one column: each row's partner is drawn among the texts of its label."""
    labels: list[float]
    """Scores; or numbers of which equal ones mark rows that are no negatives of each other."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapter of each column of a batch, the last standing for all further ones."""
        return ("retrieval.query", "retrieval.passage") if self.task == "retrieval" else (self.task,)

    def adapter_of(self, place: int) -> str:
        """The adapter of one column of a batch."""
        return self.adapters[min(place, len(self.adapters) - 1)]

    def split(self, share: float, seed: int) -> tuple[TaskSet, TaskSet]:
        """The rows without a share of them, and that share."""
        from anysize.core.training.left_out import split

        def of(rows: Sequence[int]) -> TaskSet:
            columns = [[column[row] for row in rows] for column in self.columns]
            return replace(self, columns=columns, labels=[self.labels[row] for row in rows])

        kept, left_out = split(range(len(self)), share, seed)
        return of(list(kept)), of(list(left_out))

    def loss(self, model: torch.nn.Module, temperature: float | None = None) -> Any:
        """The loss of this task on this shape of data."""
        from anysize.text.tasks.losses import CoSENTLoss, SeparationLoss, TripletInfoNCELoss

        tau = temperature or TEMPERATURES[self.task]
        if self.shape == "scored pairs":
            return CoSENTLoss(model, tau)
        return SeparationLoss(model, tau) if self.task == "separation" else TripletInfoNCELoss(model, tau)


def adapters_of(sets: Iterable[TaskSet]) -> tuple[str, ...]:
    """The adapters that these data sets train, in the order of `TASKS`."""
    from anysize.text.tasks.adapters import TASKS

    named = {adapter for one in sets for adapter in one.adapters}
    return tuple(task for task in TASKS if task in named)


def read_task_sets(words: Sequence[str]) -> list[TaskSet]:
    """Data sets given as ``task=SOURCE``. Raises `AnysizeError` for an unknown task, `DataError` for a wrong shape."""
    from anysize.core.data.read import read

    sets = []
    for word in words:
        task, equals, source = word.partition("=")
        if not equals or not source:
            raise AnysizeError(f"{word!r} does not say task=DATA; the tasks are {', '.join(SHAPES)}")
        check_task(task)
        sets.append(task_set(task, read(source)))
    if not sets:
        raise AnysizeError(f"name the data of at least one task with --task TASK=DATA; the tasks: {', '.join(SHAPES)}")
    return sets


def check_task(task: str) -> None:
    """Raise `AnysizeError` for what is no task."""
    if task not in SHAPES:
        both = "did you mean retrieval, which trains both of its adapters?"
        raise AnysizeError(
            f"no task is called {task!r}; {both if task.startswith('retrieval.') else nearest(task, SHAPES)}"
        )


def task_set(task: str, data: Data) -> TaskSet:
    """What a task learns of some data. Raises `DataError` if the data has another shape, or too few rows."""
    check_task(task)
    wants_labels = task in ("classification", "separation")
    if wants_labels and data.labels is not None and data.items().texts is not None:
        found = _labelled(task, data)
    elif task == "text-matching" and (scored := data.training_scored()) is not None:
        sides = [list(scored[name]) for name in ("sentence1", "sentence2")]
        found = TaskSet(task, data.name, data.fingerprint, "scored pairs", sides, list(scored["score"]))
    elif not wants_labels and (pairs := data.training_pairs()) is not None:
        places = {anchor: float(place) for place, anchor in enumerate(dict.fromkeys(pairs["anchor"]))}
        found = TaskSet(
            task, data.name, data.fingerprint, "triplets" if pairs.negatives else "pairs",
            [list(column) for column in pairs.paired.values()],
            [places[anchor] for anchor in pairs["anchor"]],
        )  # fmt: skip
    else:
        raise DataError(f"{data.name} is no data for {task}; expected {SHAPES[task]}")
    if len(found) < 2 or len(set(found.labels)) < 2:
        raise DataError(f"{data.name} has {len(found)} rows for {task} that differ in what they teach; give more")
    return found


def _labelled(task: str, data: Data) -> TaskSet:
    """The texts whose label has another text too."""
    assert data.labels is not None
    count = Counter(data.labels)
    numbers = {label: float(place) for place, label in enumerate(count)}
    kept = [
        (text, numbers[label])
        for text, label in zip(data.texts, data.labels, strict=True)
        if count[label] > 1 and text.strip()
    ]
    texts, labels = [text for text, _ in kept], [label for _, label in kept]
    return TaskSet(task, data.name, data.fingerprint, "labelled texts", [texts], labels)
