"""Vectors with a falling spectrum, a plain brute-force search, and a model made of hashing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

NESTING = Nesting(dims=(8, 16, 32, 64, 96))


def vectors(count: int, dims: int = 96, seed: int = 0) -> np.ndarray:
    """Clustered vectors of any length whose leading coordinates carry most of the energy."""
    rng = np.random.default_rng(seed)
    spectrum = (1 / np.sqrt(1 + np.arange(dims))).astype(np.float32)
    centres = np.random.default_rng(99).standard_normal((50, dims), np.float32)
    noise = rng.standard_normal((count, dims), np.float32)
    lengths = rng.uniform(0.5, 2, (count, 1)).astype(np.float32)
    return (centres[rng.integers(50, size=count)] + 0.5 * noise) * spectrum * lengths


def scores(corpus: np.ndarray, query: np.ndarray, metric: str = "cosine", dims: int | None = None) -> np.ndarray:
    """Scores of the first `dims` coordinates, in float64, without any of the library's code."""
    rows, prefix = corpus[:, :dims].astype(np.float64), query[:dims].astype(np.float64)
    dots = rows @ prefix
    if metric == "dot":
        return dots
    return dots / np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(prefix), 1e-30)


@dataclass
class HashModel:
    """Encodes a text as the sum of one random vector a word; `name` changes its fingerprint and its vectors."""

    name: str = "a"
    dims: int = 32
    gives = "vectors"
    tasks, task = (), None

    @property
    def nesting(self) -> Nesting:
        return Nesting(dims=(8, 16, 32))

    @property
    def size(self) -> Size:
        return Size(dims=self.dims)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    def at(self, size: Size) -> HashModel:
        return HashModel(self.name, self.nesting.resolve(size).dims)

    def encode(self, texts: list[str], *, side: str | None = None) -> np.ndarray:
        out = np.zeros((len(texts), 32), np.float32)
        for row, text in enumerate(texts):
            for word in ["", *text.split()]:
                seed = int.from_bytes(hashlib.sha256((self.name + word).encode()).digest()[:4])
                out[row] += np.random.default_rng(seed).standard_normal(32, np.float32)
        out = out[:, : self.dims]
        return out / np.linalg.norm(out, axis=1, keepdims=True)
