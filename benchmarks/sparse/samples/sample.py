"""A sample of rows that benchmarks of sparse codes learn from, what they keep of it, and how they are called."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.sparse.rows.stored import is_held_out
from benchmarks.common import arguments

KINDS = ("texts", "images", "residuals")


@dataclass(frozen=True)
class Sample:
    """Rows in a fixed order, of which the last `held` are kept from all training, to measure on."""

    vectors: np.ndarray
    """(n, d) float32."""
    held: int
    what: str
    """What a row is, for example ``embeddings``."""
    source: str
    """Where the rows come from, for example ``captions and news``."""
    names: list[str]
    """What each row is of, for example its text; empty where that is not of use."""
    classes: np.ndarray | None = None
    """The class of each row, empty where it has none."""

    @property
    def train(self) -> np.ndarray:
        """All but the held-out rows."""
        return self.vectors[: -self.held]

    @property
    def held_out(self) -> np.ndarray:
        """The last rows."""
        return self.vectors[-self.held :]

    @property
    def unseen(self) -> np.ndarray:
        """Those of `train` that a fit keeps from its gradients, on which it sets thresholds."""
        return self.train[is_held_out(np.arange(len(self.train)), len(self.train))]

    @property
    def about(self) -> str:
        """One phrase for a row of evidence."""
        count, width = self.train.shape
        return f"{count:,} {self.what} ({width} dims) of {self.source} to learn from, {self.held:,} held out"

    def data(self) -> Data:
        """The training rows, as methods take them."""
        vectors = np.ascontiguousarray(self.train)
        return Data(self.what, self.what, corpus=Items([str(row) for row in range(len(vectors))], vectors, "vector"))


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that these benchmarks share."""
    found = arguments(doc, "data", "cache", seeds=3)
    found.add_argument("--on", choices=KINDS, default=KINDS[0], help="what the rows are")
    return found


def named(claim: str, on: str) -> str:
    """The name of a claim's row, or of a file, on rows of a kind; texts came first and have the plain one."""
    return claim if on == KINDS[0] else f"{claim}-{on}"


def command(module: str, on: str) -> str:
    """What writes the row, from the model of the residuals on."""
    first = "python -m benchmarks.quantize.small_lm --data DATA_DIR --cache CACHE_DIR/lm --steps 2000 && "
    kind = "" if on == KINDS[0] else f" --on {on}"
    call = f"python -m benchmarks.sparse.{module} --data DATA_DIR --cache CACHE_DIR{kind}"
    return first + call if on == "residuals" else call


def kept_rows(path: Path, run: Callable[[], np.ndarray]) -> np.ndarray:
    """The rows that were kept there, else those made now."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.npy")
        np.save(scratch, np.asarray(run(), np.float32))
        os.replace(scratch, path)
    return np.load(path)
