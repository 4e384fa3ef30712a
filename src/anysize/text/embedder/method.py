"""Matryoshka Representation Learning for embeddings (Kusupati et al. 2022, arXiv 2205.13147, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from anysize.core.errors import SizeError
from anysize.core.sides import Sides
from anysize.core.sizes.checks import whole_numbers
from anysize.core.sizes.size import Size
from anysize.core.sizes.widths import default_dims
from anysize.core.verbs.method import Trained


@dataclass(frozen=True)
class MRL(Trained):
    """
    Makes embeddings nested: every prefix of the vector becomes an embedding of its own.

    With pairs (or judgements) it learns from them; with texts or vectors alone it learns, without labels, to keep
    every item's neighbourhood at each prefix.
    """

    name: ClassVar[str] = "mrl"
    axes: ClassVar[tuple[str, ...]] = ("dims",)
    paper: ClassVar[str] = "Kusupati et al. 2022, arXiv 2205.13147"
    learns_from: ClassVar[str] = "pairs, judgements, texts, vectors or pictures (with labels or without)"
    needs: ClassVar[tuple[str, ...]] = ("anchor, positive", "text", "vector", "image")
    extra: ClassVar[str | None] = "text"
    runs: ClassVar[str] = "anysize.text.embedder.fit:fit"
    positive: ClassVar[tuple[str, ...]] = (*Trained.positive, "scale")
    shown: ClassVar[bool] = True

    model: str | None = None
    """The sentence-transformers model to start from: a folder or a hub name. Not needed for vectors. For pictures:
    timm:NAME, torchvision:NAME, or a folder or hub name of transformers."""
    dims: tuple[int, ...] | None = None
    """Sizes to train, increasing, for example 8,16,32,64. Default: powers of two from 8, and the width."""
    tune: Literal["head", "full"] = "head"
    """head: learn a linear map over the frozen model (seconds to minutes). full: fine-tune the model itself."""
    epochs: float | None = None
    """Passes over the training data. Default: 20 or more, to make 300 steps, for a head; 1 for the full model."""
    batch_size: int | None = None
    """Rows per step; the others in the batch are the negatives. Default: 512 for a head, 64 for the full model."""
    learning_rate: float | None = None
    """Peak learning rate, warmed up and decayed linearly. Default: 1e-3 for a head, 5e-5 for the full model."""
    scale: float = 20.0
    """Inverse temperature of the softmax over cosine similarities."""
    keep: float | None = None
    """With pairs and a head: how strongly to keep the corpus's own neighbourhoods as well, which helps where labelled
    queries are few. Default: a fifth of the number of documents per distinct query, at most 10; 0 turns it off."""
    labels: Literal["cosine", "linear"] = "cosine"
    """Of labelled pictures: tell classes apart by directions, as k-NN and search will, or by inner products."""
    sides: Sides = "retrieval"
    """retrieval: encode anchors as queries and all other texts as documents, where the model has prompts for the two.
    symmetric: encode all alike, as for paraphrases. Scored pairs are always alike."""
    bf16: bool = False
    """Run the encoder in bfloat16, here, in `measure` and for an index (about twice as fast where the processor has it;
    vectors agree to 4 digits)."""
    seed: int = 0
    """Seed of everything random."""

    def sizes(self, width: int) -> tuple[int, ...]:
        """The sizes to train for this width. Raises `SizeError` if they do not increase or one exceeds it."""
        if self.dims is None:
            return default_dims(width)
        dims = whole_numbers("dims", self.dims)
        if dims[-1] > width:
            raise SizeError(f"dims={dims[-1]} exceeds the model, whose embeddings have {width} dimensions")
        return dims

    def single(self, size: Size) -> MRL:
        """The same training for one size alone: the fixed-size twin."""
        return replace(self, dims=(size.dims,))
