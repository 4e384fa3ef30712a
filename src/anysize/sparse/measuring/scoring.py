"""Exact cosines between items, by their sparse codes or by dense vectors: what sparse search is measured with."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from anysize.evaluation.nearest import unit
from anysize.evaluation.principal import principal_rows
from anysize.sparse.measuring.dense import Dense

if TYPE_CHECKING:
    from anysize.sparse.autoencoder.model import SparseAutoencoder


class Scorer(Protocol):
    """A corpus in one form, ready to be compared with."""

    active: float
    """Values that are stored for an item, on average."""
    bytes: int
    """What they and their places take."""
    parameters: int
    flops: int

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Cosines (q, n) float32 of queries (q, d) with the corpus; 0 where nothing is active."""


class SparseScorer:
    """By codes: for each latent the items in which it is active, so a query touches its own latents' lists alone."""

    def __init__(self, sae: SparseAutoencoder, corpus: np.ndarray) -> None:
        self.sae = sae
        codes = unit_codes(sae, corpus)
        self.active = codes.nnz / len(corpus)
        self.bytes = sae.bytes_of(self.active)
        cost = sae.cost()
        self.parameters, self.flops = cost.parameters, cost.flops
        self.lists = codes.T.tocsr()  # (latents, n)

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Exact, through a product of sparse matrices."""
        return (unit_codes(self.sae, vectors) @ self.lists).toarray().astype(np.float32, copy=False)


class DenseScorer:
    """By vectors: `turn` (m, d) makes shorter ones of them, or they are cut to `dims`."""

    def __init__(self, corpus: np.ndarray, dims: int, turn: np.ndarray | None) -> None:
        self.dims, self.turn = dims, turn
        self.active, self.bytes = float(dims), 4 * dims
        self.parameters = 0 if turn is None else turn.size
        self.flops = 2 * self.parameters
        self.rows = self._made(corpus)

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """One dense product."""
        return self._made(vectors) @ self.rows.T

    def _made(self, vectors: np.ndarray) -> np.ndarray:
        return unit(vectors[:, : self.dims] if self.turn is None else vectors @ self.turn.T)


class Scorers:
    """The scorers of one corpus (n, d). Codes must come before the dense rivals that have as many coordinates."""

    def __init__(self, corpus: np.ndarray) -> None:
        self.corpus = corpus
        self._codes: dict[Any, SparseScorer] = {}

    @cached_property
    def directions(self) -> np.ndarray:
        """All principal directions of the corpus, (d, d)."""
        return principal_rows(self.corpus, self.corpus.shape[1]).numpy()

    def of(self, view: SparseAutoencoder | Dense) -> Scorer:
        """What compares by the codes of an autoencoder, or by vectors as short as the codes of that size."""
        if not isinstance(view, Dense):
            made = SparseScorer(view, self.corpus)
            self._codes.setdefault(view.size, made)
            return made
        width = self.corpus.shape[1]
        if view.name == "original":
            return DenseScorer(self.corpus, width, None)
        codes = self._codes[view.size]
        dims = min(width, max(1, codes.bytes // 4 if view.name.endswith("-bytes") else round(codes.active)))
        return DenseScorer(self.corpus, dims, self.directions[:dims] if view.name.startswith("pca") else None)


def unit_codes(sae: SparseAutoencoder, vectors: np.ndarray) -> Any:
    """Codes (n, latents) of unit length as a ``csr_array``; one without an active latent stays empty."""
    codes = sae.encode(vectors).to_scipy()
    lengths = np.sqrt(np.asarray(codes.multiply(codes).sum(axis=1)).ravel())  # (n,)
    codes.data /= np.repeat(np.maximum(lengths, np.finfo(np.float32).tiny), np.diff(codes.indptr)).astype(np.float32)
    return codes
