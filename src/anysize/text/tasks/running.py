"""Running an encoder that has one adapter per task: texts and their tasks in, vectors of any trained width out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.layered import Backbone
from anysize.backbones.sentence import encode_distinct
from anysize.backbones.texts.window import Window
from anysize.core.errors import AnysizeError, DataError
from anysize.core.losses.head import as_tensor
from anysize.core.model.contract import NestedModel
from anysize.core.model.mixing import by_size
from anysize.core.sides import Side, TwoSided, side_of
from anysize.core.sizes.size import Size
from anysize.text.tasks.adapters import Adapters

INSTRUCTIONS = {
    "retrieval.query": "Represent the query for retrieving evidence documents: ",
    "retrieval.passage": "Represent the document for retrieval: ",
}
"""What jina-embeddings-v3 puts before a text; the other tasks have none."""
SIDES: dict[str, Side] = {"retrieval.query": "query", "retrieval.passage": "document"}
"""The tasks that are sides of a search."""
_APART = "\0"


class TaskRunning(TwoSided, NestedModel):
    """What `TaskEncoder` does with texts."""

    encoder: Backbone
    adapters: Adapters
    instructions: dict[str, str]

    @property
    def in_features(self) -> int:
        """The width of what every size is cut from."""
        return self.encoder.width

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`."""
        return (id(self.encoder), self.task)

    def vectors(self, texts: Sequence[str], tasks: Sequence[str]) -> torch.Tensor:
        """Sentence vectors (rows, width), not normalised, in one pass; with a gradient where that is wanted."""
        return self.pooled(self.tokens(texts, tasks), tasks)

    def tokens(self, texts: Sequence[str], tasks: Sequence[str]) -> dict[str, torch.Tensor]:
        """Token ids and masks of texts, each behind the instruction of its task, cut at the model's limit."""
        return self.encoder.tokens(texts, [self.prompt_of(task) for task in tasks])

    def pooled(self, inputs: Mapping[str, Any], tasks: Sequence[str]) -> torch.Tensor:
        """As `vectors`, from `tokens`; one task stands for all rows."""
        depth = self.encoder.depth
        with self.adapters.for_rows(tasks):
            return self.encoder(inputs, [depth])[depth]

    def prompt_of(self, task: str) -> str:
        """What goes before a task's texts: its instruction, or else the base model's own prompt for that side."""
        return self.instructions.get(task, self.encoder.prompt(SIDES.get(task)))

    def run_mixed(self, items: Any, sizes: Sequence[Size], *, side: Side | None = None) -> list[Any]:
        """One pass of the encoder for all sizes."""
        return by_size(self.features(items, side=side), sizes, lambda size, part: self.at(size).project(part))

    def window(self, side: Side | None = "document") -> Window:
        """How much of a text it reads, behind the longest instruction of its tasks."""
        longest = max(map(self.prompt_of, self.tasks if self.task is None else (self.task,)), key=len)
        return replace(self.encoder.window(), prompt=longest)

    @torch.no_grad()
    def features(
        self,
        inputs: Sequence[str],
        *,
        task: str | Sequence[str] | None = None,
        side: Side | None = None,
        batch_size: int = 64,
        progress: bool = False,
        bf16: bool = False,
    ) -> np.ndarray:
        """What every size is cut from, not normalised: float32, shape (n, width). Tasks and sides as in `encode`."""
        if isinstance(inputs, str) or not all(isinstance(text, str) for text in inputs):
            raise DataError("give a list of texts")
        tasks = self.tasks_of(len(inputs), task, side or side_of(inputs))
        if not len(inputs):
            return np.zeros((0, self.in_features), dtype=np.float32)
        window = replace(self.encoder.window(), prompt=max(map(self.prompt_of, sorted(set(tasks))), key=len))
        if progress:
            window.say_cut(inputs)
        # A text is known by its task and its words together, so each pair is embedded once.
        keys = [f"{name}{_APART}{text}" for name, text in zip(tasks, inputs, strict=True)]

        def run(batch: list[str]) -> np.ndarray:
            names, parts = zip(*(key.split(_APART, 1) for key in batch), strict=True)
            with torch.autocast(self.encoder.device.type, torch.bfloat16, enabled=bf16):
                return self.vectors(parts, names).float().cpu().numpy()

        def lengths(keys: list[str]) -> list[int]:
            return window.lengths([key.split(_APART, 1)[1] for key in keys])

        return encode_distinct(keys, run, lengths, batch_size=batch_size, progress=progress)

    @torch.no_grad()
    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """`features` to embeddings (n, dims) at this view's size, of unit length unless told otherwise."""
        z = as_tensor(features)[:, : dims or self.size.dims]
        return (functional.normalize(z, dim=-1) if normalize else z).numpy()

    def encode(
        self,
        inputs: Sequence[str],
        *,
        task: str | Sequence[str] | None = None,
        truncate_dim: int | None = None,
        **options: Any,
    ) -> np.ndarray:
        """
        Unit embeddings for a task, or for one task per text: float32, shape (n, dims).

        Without a task, ``side="query"`` (`encode_query`) stands for ``retrieval.query`` and ``"document"``
        (`encode_document`) for ``retrieval.passage``, except in a view for one task, which keeps it. `truncate_dim` is
        a trained width (default: this view's). Options: batch_size, progress, bf16. Raises `AnysizeError` if no task is
        given or there is no adapter for it, `SizeError` for a width that is not trained.
        """
        size = self.size if truncate_dim is None else self.nesting.resolve(dims=truncate_dim)
        return self.project(self.features(inputs, task=task, **options), size.dims)

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Every size from one pass over texts (perhaps `SidedTexts`), or a mapping of ``texts`` and their ``task``."""
        texts, task = (example["texts"], example["task"]) if isinstance(example, Mapping) else (example, None)
        z = self.vectors(list(texts), self.tasks_of(len(texts), task, side_of(texts)))
        return {size: functional.normalize(z[:, : size.dims], dim=-1) for size in asked}

    def tasks_of(self, count: int, task: str | Sequence[str] | None, side: Side | None = None) -> list[str]:
        """
        The task of each of `count` texts. Raises `AnysizeError` if none is given here or by `for_task`.

        A side stands for its task where there is no other.
        """
        given = self.task if task is None else task
        if given is None:
            given = next((name for name, own in SIDES.items() if own == side), None)
        if given is None:
            raise AnysizeError(
                "say which task the texts are for, by task=... or by for_task(...); this model has: "
                f"{', '.join(self.tasks)}"
            )
        tasks = [given] * count if isinstance(given, str) else list(given)
        if len(tasks) != count:
            raise AnysizeError(f"{len(tasks)} tasks for {count} texts; give one task, or one per text")
        self.check_tasks(tasks if count else [given] if isinstance(given, str) else [])
        return tasks

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Raise `AnysizeError` for a task without an adapter, naming those there are."""
        for task in dict.fromkeys(tasks):
            if task not in self.tasks:
                raise AnysizeError(f"this model has no adapter for {task!r}; it has: {', '.join(self.tasks)}")
