"""Exact cosines between items by their sparse codes: what sparse search is measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.core.model.contract import NestedModel
from anysize.core.sides import Side
from anysize.sparse.autoencoder.reading import TextRows

if TYPE_CHECKING:
    from anysize.core.data.records import Items
    from anysize.core.model.faces import Corpus
    from anysize.sparse.autoencoder.codes import Codes


class Searched(TextRows, NestedModel):
    """What an autoencoder does for those who search by its codes."""

    W_enc: torch.nn.Parameter

    def encode(self, x: np.ndarray) -> Codes:
        """Vectors (n, d) to codes."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it encodes")

    def standardize(self, x: np.ndarray) -> torch.Tensor:
        """Inputs (n, d) as the weights see them."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its weights see inputs")

    def bytes_of(self, active: float) -> int:
        """Bytes of a stored code with so many active latents."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a code takes")

    @property
    def origin(self) -> tuple[object, ...]:
        """Autoencoders of one origin read the same `vectors`."""
        source = self.source
        return ("rows of", source.model, source.site, source.max_length)

    def vectors(self, items: Items, side: Side | None) -> np.ndarray:
        """
        The vectors (n, d) that this autoencoder reads of items: theirs, or those of their texts on a side of a search.

        Raises `DataError` for texts where it was fitted on vectors, or for vectors of another width.
        """
        if items.vectors is not None:
            found = np.asarray(items.vectors, np.float32)
        else:
            self.keep_embeddings()
            found = self.features(items.texts or [], side=side)
        self.standardize(found[:1])
        return found

    def scorer(self, corpus: Corpus) -> CodeScorer:
        """A corpus as codes of this size."""
        made: CodeScorer = corpus.once((id(self.W_enc), self.size), lambda: CodeScorer(self, corpus.rows))
        return made


class CodeScorer:
    """For each latent the items in which it is active, so a query touches its own latents' lists alone."""

    def __init__(self, sae: Searched, corpus: np.ndarray) -> None:
        self.sae = sae
        codes = unit_codes(sae, corpus)
        self.active = codes.nnz / len(corpus)
        """Latents that are active in an item, on average."""
        self.metrics = {"l0": self.active}
        self.bytes = sae.bytes_of(self.active)
        cost = sae.cost()
        self.parameters, self.flops = cost.parameters, cost.flops
        self.lists = codes.T.tocsr()  # (latents, n)

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """Exact, through a product of sparse matrices; 0 where nothing is active."""
        return (unit_codes(self.sae, queries) @ self.lists).toarray().astype(np.float32, copy=False)


def unit_codes(sae: Searched, vectors: np.ndarray) -> Any:
    """Codes (n, latents) of unit length as a ``csr_array``; one without an active latent stays empty."""
    codes = sae.encode(vectors).to_scipy()
    lengths = np.sqrt(np.asarray(codes.multiply(codes).sum(axis=1)).ravel())  # (n,)
    codes.data /= np.repeat(np.maximum(lengths, np.finfo(np.float32).tiny), np.diff(codes.indptr)).astype(np.float32)
    return codes
