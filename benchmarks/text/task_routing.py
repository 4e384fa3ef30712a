"""
Many tasks in one batch: that it changes no vector, and what it costs beside a pass without adapters.

    python -m benchmarks.text.task_routing --data DATA_DIR      # about two minutes of one core

Processor time of one thread, medians over rounds in which the arms take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from anysize.backbones.layered import Backbone
from anysize.core.data.read import read
from anysize.text import TaskEncoder, TaskLoRA
from anysize.text.tasks.adapters import TASKS
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.text.task_corpora import OWN
from benchmarks.text.tasks import base
from benchmarks.timing import ratio, taking_turns

FOUR, ROWS = tuple(OWN.values()), 64


def random_adapters() -> TaskEncoder:
    """Five adapters that each do something else."""
    encoder = TaskLoRA(base(), TASKS, instructions={})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in encoder.adapters.weights().values():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return encoder


def apart(encoder: TaskEncoder, texts: list[str], tasks: list[str]) -> float:
    """The largest difference between a text's vector in a mixed batch and in one of its own task."""
    mixed = encoder.encode(texts, task=tasks)
    each = {task: encoder.encode(texts, task=task) for task in FOUR}
    return float(max(np.abs(mixed[row] - each[task][row]).max() for row, task in enumerate(tasks)))


def timed(encoder: TaskEncoder, texts: list[str], tasks: list[str], repeats: int = 9) -> dict[str, list[float]]:
    """Milliseconds of one pass over the same tokens in several ways."""
    batches = [
        (encoder.tokens(texts[row : row + ROWS], tasks[row : row + ROWS]), tasks[row : row + ROWS])
        for row in range(0, len(texts), ROWS)
    ]
    alone, merged = Backbone.of(base()), Backbone.of(encoder.extract(task="classification"))
    depth = alone.depth

    def by_task() -> None:
        for inputs, names in batches:
            for task in FOUR:
                rows = [row for row, name in enumerate(names) if name == task]
                encoder.pooled({key: value[rows] for key, value in inputs.items()}, [task])

    arms: dict[str, Callable[[], Any]] = {
        "plain": lambda: [alone(inputs, [depth]) for inputs, _ in batches],
        "merged": lambda: [merged(inputs, [depth]) for inputs, _ in batches],
        "one task": lambda: [encoder.pooled(inputs, ["classification"]) for inputs, _ in batches],
        "mixed batch": lambda: [encoder.pooled(inputs, names) for inputs, names in batches],
        "a batch per task": by_task,
    }
    with torch.no_grad():
        return taking_turns(arms, repeats)


def main() -> None:
    """One row."""
    parser = arguments(__doc__, "data")
    scored = read(parser.parse_args().data / "stsb/test.tsv").scored
    assert scored is not None
    texts = list(dict.fromkeys(scored["sentence1"]))[: 4 * ROWS]
    tasks = [FOUR[row % 4] for row in range(len(texts))]
    encoder = random_adapters()
    difference, times = apart(encoder, texts, tasks), timed(encoder, texts, tasks)
    cost = {arm: ratio(times, arm, "plain") for arm in times}
    same, cheap = difference <= 1e-5, cost["mixed batch"] <= 1.3
    write_row(
        "tasks-routing",
        paper="jina-embeddings-v3, arXiv 2409.10173",
        claim="A batch of four tasks gives each task's own vectors to 1e-5, at most 1.3 times a pass without adapters",
        reported="no figure",
        arms=list(times),
        metric="processor time of one thread as a multiple of the plain encoder's, median over turns",
        values={
            "times the plain pass": cost,
            "ms": {arm: float(np.median(found)) for arm, found in times.items()},
            "largest difference": {"mixed batch": difference},
        },
        outcome="won" if same and cheap else "mixed" if same else "lost",
        note=f"A mixed batch differs by at most {difference:.1g} and costs {cost['mixed batch']:.2f} plain passes. One "
        f"task for all rows costs {cost['one task']:.2f}, the same rows in a batch per task "
        f"{cost['a batch per task']:.2f}, merged weights {cost['merged']:.2f}. The layers are PEFT's, which runs a "
        "masked loop over the tasks in each. The machine was shared; arms took turns.",
        command="python -m benchmarks.text.task_routing --data DATA_DIR",
        data=f"{len(texts)} sentences of STS-B's test part in batches of {ROWS}, four tasks in turn; random adapters",
    )
    print(cost, difference)


if __name__ == "__main__":
    main()
