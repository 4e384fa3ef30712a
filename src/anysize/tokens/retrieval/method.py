"""The method ``mme`` (Zhang et al., arXiv 2502.12799, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from anysize.core.verbs.method import Method, Trained
from anysize.tokens.methods import Pooled


@dataclass(frozen=True)
class MME(Trained, Pooled):
    """
    Matryoshka Multimodal Embedder: one vector for texts and pictures in any order, at any number of tokens a picture.

    A smaller number of tokens is the picture's grid, pooled after the projector. Queries and documents may be embedded
    at different numbers and still be compared. Rows with negatives learn from these too.
    """

    name: ClassVar[str] = "mme"
    paper: ClassVar[str] = "Zhang et al. 2025, arXiv 2502.12799"
    runs: ClassVar[str] = "anysize.tokens.retrieval.fit:fit"
    learns_from: ClassVar[str] = "pairs, or judgements of a train split, of texts and pictures"
    needs: ClassVar[tuple[str, ...]] = ("anchor, positive",)
    positive: ClassVar[tuple[str, ...]] = (*Method.positive, "temperature")

    draw: Literal["mean", "mrl", "random"] = "mean"
    """Sizes of a step: all of queries with all of documents (mean), each with itself (mrl), one at random (random)."""
    temperature: float = 0.05
    """What cosines are divided by."""
    max_length: int | None = None
    """Tokens to read of an item; the rest is left out and counted. Default: as many as the model has positions."""
