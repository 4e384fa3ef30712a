"""The evaluator of what autoencoders rebuild: see `anysize.sparse.measuring.rebuilt` for what is computed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.model.faces import Rebuilds
from anysize.core.verbs.evaluator import Evaluator, Scores, Task

if TYPE_CHECKING:
    from pathlib import Path

    from anysize.core.data.data import Data


class ReconstructionEvaluator(Evaluator):
    """The variance explained, cosine, L0 and share of latents alive of an autoencoder at every size."""

    face = Rebuilds
    needs = "two items"

    def accepts(self, data: Data) -> bool:
        """Whether there are at least two items."""
        return len(data.items()) > 1

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """Every row that the autoencoder makes of the data, or those that training left out."""
        kept = " held out from training" if held_out else ""
        said = f"reconstruction of rows of {data.name}{kept}"
        return Task(said, "variance_explained", "rows", _Rows(data, held_out))

    def score(self, view: Any, task: Task) -> Scores:
        """Bytes are those of the codes as they are: a float32 and an index per active latent."""
        import torch

        from anysize.sparse.measuring.rebuilt import reconstruction

        rows = task.on.read_by(view, task.scratch)
        found = reconstruction(view, rows)
        metrics = {"variance_explained": 1 - found.fvu, "cosine": found.cosine, "l0": found.l0, "alive": 1 - found.dead}
        run = partial(view.encode, torch.as_tensor(np.array(rows[:1])))
        return Scores(found.units, metrics, run, bytes=view.bytes_of(found.l0))


class _Rows:
    """What the first autoencoder that asks reads of the data; its rivals read the same."""

    def __init__(self, data: Data, held_out: bool) -> None:
        self.data, self.held_out = data, held_out
        self._rows: Any = None

    def read_by(self, view: Any, scratch: Path) -> Any:
        from anysize.sparse.measuring.rebuilt import rows_of, split_of

        if self._rows is None and self.held_out:
            split = split_of(view, self.data, scratch)
            self._rows = split.rows[np.flatnonzero(split.held)]
        elif self._rows is None:
            self._rows = rows_of(view, self.data, scratch)
        return self._rows
