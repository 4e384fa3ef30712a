"""The method ``tasks``: one low-rank adapter per task over one encoder, nested in width (arXiv 2409.10173)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from anysize.core.sides import Sides
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.widths import default_dims
from anysize.core.verbs.method import Trained


@dataclass(frozen=True)
class Tasks(Trained):
    """
    Task adapters: one low-rank adapter per task, all trained together over a frozen encoder, at every width.

    DATA are pairs on which the whole encoder is tuned first; write none to leave it as it is. The tasks are retrieval,
    text-matching, classification and separation; each step takes its batch from one task's data.
    """

    name: ClassVar[str] = "tasks"
    axes: ClassVar[tuple[str, ...]] = ("dims",)
    paper: ClassVar[str] = "Sturua et al. 2024, arXiv 2409.10173"
    learns_from: ClassVar[str] = "pairs, scored pairs or labels, one file for each task"
    extra: ClassVar[str | None] = "text"
    runs: ClassVar[str] = "anysize.text.tasks.fit:fit"
    positive: ClassVar[tuple[str, ...]] = (*Trained.positive, "temperature", "base_epochs", "base_learning_rate")

    model: str | None = None
    """The sentence-transformers model to start from: a folder or a hub name."""
    task: Annotated[list[str], "TASK=DATA"] = field(default_factory=list)
    """Data of a task, such as retrieval=pairs.jsonl or classification=labelled.csv."""
    dims: tuple[int, ...] | None = None
    """Widths to train, increasing, for example 24,96,384."""
    r: int = 4
    """Rank of the adapters."""
    lora_alpha: float = 1.0
    """Adapters are scaled by alpha / rank; the learning rate below fits a quarter."""
    lora_dropout: float = 0.0
    """Share of inputs that an adapter does not see in training."""
    embedding: bool = True
    """Adapt the table of token embeddings too, not only the linear layers."""
    instructions: bool = True
    """Put the model's own prompts before the queries and documents of retrieval, or, where it has none, the
    instructions of jina-embeddings-v3. Off: the model's own prompts alone."""
    sides: Sides = "retrieval"
    """How DATA's pairs are encoded. retrieval: anchors as queries and all other texts as documents, where the model has
    prompts for the two. symmetric: all alike, as for paraphrases."""
    epochs: float = 1.0
    """Passes over the data of all tasks together."""
    steps: int | None = None
    """Steps of the adapters; takes the place of epochs."""
    batch_size: int = 64
    """Rows per step; the others in the batch are the negatives."""
    learning_rate: float = 5e-4
    """Peak learning rate of the adapters, warmed up and decayed linearly."""
    temperature: float | None = None
    """Temperature of every loss. Default: the paper's for each task (0.05, or 0.02 for those with labels)."""
    base_epochs: float = 1.0
    """Passes over DATA, in which the whole encoder is tuned."""
    base_learning_rate: float = 5e-5
    """Peak learning rate of that."""
    max_length: int | None = None
    """Cut texts at so many tokens, in training and ever after. Default: the model's own limit."""
    bf16: bool = False
    """Train and measure in bfloat16 (about twice as fast where the processor has it)."""
    seed: int = 0
    """Seed of everything random."""

    def nesting(self, width: int) -> Nesting:
        """The widths to train for an encoder of this one."""
        return Nesting(dims=self.dims or default_dims(width))
