"""Run by torchrun in a test: a command line; then each rank trains on its part and writes the weights that it gets."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from anysize.cli.main import run
from anysize.core.training.processes import joined
from anysize.sparse.learning.loop import LearningPlan, train
from anysize.sparse.rows.stored import ArrayRows
from anysize.sparse.rows.stream import Groups, StreamRows
from tests.sparse.learning.test_loop import RECIPES, learner


def main() -> None:
    folder = Path(sys.argv[1])
    assert run([*json.loads((folder / "words.json").read_text()), "--out", str(folder / "two")]) == 0
    rows = ArrayRows(np.load(folder / "X.npy"))
    with joined():
        rank = torch.distributed.get_rank()
        for name in ("prefixes", "ranks", "jumprelu"):
            held = learner(replace(RECIPES[name], aux=0.0), rows)
            held.begin(rows.sample())
            train([held], rows, LearningPlan(8, 128))
            torch.save(dict(held.sae.state_dict()), folder / f"{name}-{rank}.pt")
        streamed = StreamRows(Groups([str(number) for number in range(203)], 2), numbers, buffer=40)
        seen = [batch.x for batch in streamed.batches(0, 10)]
        torch.save(torch.stack(seen), folder / f"stream-{rank}.pt")


def numbers(texts: list[str]) -> np.ndarray:
    """As rows: each text's number, once for each of its digits."""
    return np.array([[float(text)] for text in texts for _ in text], np.float32)


main()
