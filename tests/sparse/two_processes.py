"""Run by torchrun in a test: each rank trains on its part of every batch and writes the weights that it gets."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from anysize.sparse.processes import joined
from anysize.sparse.rows import ArrayRows
from anysize.sparse.training import Plan, train
from tests.sparse.test_training import RECIPES, learner


def main() -> None:
    folder = Path(sys.argv[1])
    rows = ArrayRows(np.load(folder / "X.npy"))
    with joined():
        rank = torch.distributed.get_rank()
        for name in ("prefixes", "ranks", "jumprelu"):
            held = learner(replace(RECIPES[name], aux=0.0), rows)
            held.begin(rows.sample())
            train([held], rows, Plan(8, 128))
            torch.save(dict(held.sae.state_dict()), folder / f"{name}-{rank}.pt")


main()
