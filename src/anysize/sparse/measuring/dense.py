"""
The dense rivals of sparse codes: vectors of as many coordinates as a code has active latents, as CSR compares, or of as
many bytes, since an active latent also stores which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.model.cost import Cost
from anysize.evaluation.nearest import unit
from anysize.evaluation.principal import principal_rows

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.data.records import Items
    from anysize.core.model.faces import Corpus
    from anysize.core.sides import Side
    from anysize.core.sizes.size import Size
    from anysize.sparse.autoencoder.model import SparseAutoencoder


@dataclass(frozen=True)
class Dense:
    """
    The vectors that an autoencoder reads, cut to the first coordinates or principal directions, or whole.

    How many are kept is known when the codes of that size are: as many as are active in one on average, or as fill
    its bytes.
    """

    beside: SparseAutoencoder
    """The view whose codes it stands beside."""
    size: Size
    name: str

    @property
    def origin(self) -> Any:
        """It reads what the autoencoder reads."""
        return self.beside.origin

    def vectors(self, items: Items, side: Side) -> np.ndarray:
        """The autoencoder's."""
        return self.beside.vectors(items, side)

    def cost(self) -> Cost:
        """Of whole vectors; what is less is known from a corpus."""
        return Cost(bytes=4 * self.beside.width, parameters=0, flops=0)

    def scorer(self, corpus: Corpus) -> DenseScorer:
        """Its corpus, cut."""
        width = self.beside.width
        if self.name == "original":
            return DenseScorer(corpus.rows, width, None, {})
        codes = self.beside.scorer(corpus)
        dims = min(width, max(1, codes.bytes // 4 if self.name.endswith("-bytes") else round(codes.active)))
        if not self.name.startswith("pca"):
            return DenseScorer(corpus.rows, dims, None, {"l0": float(dims)})
        turn = corpus.once("directions", lambda: principal_rows(corpus.rows, width).numpy())
        return DenseScorer(corpus.rows, dims, turn[:dims], {"l0": float(dims)})


class DenseScorer:
    """By vectors: `turn` (m, d) makes shorter ones of them, or they are cut to `dims`."""

    def __init__(self, corpus: np.ndarray, dims: int, turn: np.ndarray | None, metrics: dict[str, float]) -> None:
        self.dims, self.turn, self.metrics = dims, turn, metrics
        self.bytes = 4 * dims
        self.parameters = 0 if turn is None else turn.size
        self.flops = 2 * self.parameters
        self.rows = self._made(corpus)

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """One dense product."""
        return self._made(queries) @ self.rows.T

    def _made(self, vectors: np.ndarray) -> np.ndarray:
        return unit(vectors[:, : self.dims] if self.turn is None else vectors @ self.turn.T)


def truncate(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first coordinates: as many as its codes have active latents."""
    return _each(model, "truncate")


def pca(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first principal directions: as many as its codes have active latents."""
    return _each(model, "pca")


def truncate_bytes(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first coordinates: as many as fill the bytes of its codes."""
    return _each(model, "truncate-bytes")


def pca_bytes(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """For each size, the first principal directions: as many as fill the bytes of its codes."""
    return _each(model, "pca-bytes")


def original(model: SparseAutoencoder, data: Data) -> list[Dense]:
    """The untouched vectors, whose coordinates all count as active."""
    full = model.nesting.full
    size = full.replace(active=model.width) if "active" in full else full
    return [Dense(model.at(full), size, "original")]


def _each(model: SparseAutoencoder, name: str) -> list[Dense]:
    return [Dense(model.at(size), size, name) for size in model.nesting]
