"""The methods ``2dmse`` (arXiv 2402.14776) and ``starbucks`` (arXiv 2410.13230): encoders nested in depth and width."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from anysize.core.errors import SizeError
from anysize.core.sides import Sides
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.sizes.widths import default_dims
from anysize.core.verbs.method import Trained


@dataclass(frozen=True)
class LayeredMethod(Trained):
    """What both have in common."""

    runs: ClassVar[str] = "anysize.text.depth.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("layers", "dims")
    learns_from: ClassVar[str] = "pairs, triplets or scored pairs"
    needs: ClassVar[tuple[str, ...]] = ("anchor, positive", "sentence1, sentence2, score")
    extra: ClassVar[str | None] = "text"
    positive: ClassVar[tuple[str, ...]] = (*Trained.positive, "mini_batch_size", "scale")
    shown: ClassVar[bool] = True

    model: str | None = None
    """The sentence-transformers model to start from: a folder or a hub name."""
    layers: tuple[int, ...] | None = None
    """Numbers of layers to train, increasing, for example 2,4,6; with dims, every one at every width."""
    dims: tuple[int, ...] | None = None
    """Widths to train, increasing, for example 24,96,384."""
    epochs: float = 1.0
    """Passes over the training data."""
    batch_size: int = 64
    """Rows per step and process; the others in the batch are the negatives."""
    mini_batch_size: int | None = None
    """Run this many rows at a time and compute activations again for the gradient: large batches in little memory."""
    learning_rate: float = 5e-5
    """Peak learning rate, warmed up and decayed linearly."""
    scale: float = 20.0
    """Inverse temperature of the softmax over cosine similarities."""
    max_length: int | None = None
    """Cut texts at so many tokens, in training and ever after. Default: the model's own limit."""
    sides: Sides = "retrieval"
    """retrieval: encode anchors as queries and all other texts as documents, where the model has prompts for the two.
    symmetric: encode all alike, as for paraphrases. Scored pairs are always alike."""
    gradient_checkpointing: bool = False
    """Keep only each layer's input for the gradient and compute the rest again: less memory, more time."""
    bf16: bool = False
    """Train and measure in bfloat16 (about twice as fast where the processor has it)."""
    seed: int = 0
    """Seed of everything random."""

    def nesting(self, depth: int, width: int) -> Nesting:
        """The sizes to train for a model of this depth and width. Raises `SizeError` if it has not so much."""
        layers = self.layers or tuple(range(1, depth + 1))
        sizes = Nesting(layers=layers, dims=self.dims or default_dims(width))
        return sizes.within(Size(layers=depth, dims=width))

    def loss(self, model: Any, inner: Any) -> Any:
        """The nested loss over `model`, around the loss `inner` of one size."""
        raise NotImplementedError

    def single(self, size: Size) -> LayeredMethod:
        """The same training for one size alone, in a model of that depth: the fixed-size twin."""
        shared = {field.name: getattr(self, field.name) for field in fields(LayeredMethod)}
        return Starbucks(**{**shared, "layers": (size.layers,), "dims": (size.dims,)})

    def _across(self) -> dict[str, Any]:
        return {"mini_batch_size": self.mini_batch_size, "gather_across_devices": True}


@dataclass(frozen=True)
class TwoDMSE(LayeredMethod):
    """
    2D Matryoshka Sentence Embeddings: any depth, any width.

    Each step trains the last layer and one drawn layer, each at full width and at one drawn width, and pulls the
    drawn layer to the last.
    """

    name: ClassVar[str] = "2dmse"
    paper: ClassVar[str] = "Li et al. 2024, arXiv 2402.14776"

    layers_per_step: int = 1
    """Earlier layers drawn at each step; -1 takes all (costs little more and trains them all)."""
    dims_per_step: int = 1
    """Widths drawn at each step beside the full one; -1 takes all."""
    kl_weight: float = 1.0
    """Weight of the pull of earlier layers to the last."""
    kl_on: Literal["pooled", "similarity"] = "pooled"
    """What the pull compares: softmax over pooled features (the paper), or over similarities in the batch."""

    def loss(self, model: Any, inner: Any) -> Any:
        """`Matryoshka2dLoss` over the declared layers and widths."""
        from anysize.text.losses.two_d import Matryoshka2dLoss

        sizes = self.nesting(model[0].auto_model.config.num_hidden_layers, model.get_embedding_dimension())
        return Matryoshka2dLoss(
            model,
            inner,
            sizes.values("dims"),
            n_layers_per_step=self.layers_per_step,
            n_dims_per_step=self.dims_per_step,
            kl_div_weight=self.kl_weight,
            kl_temperature=1.0 if self.kl_on == "pooled" else 0.05,
            kl_on=self.kl_on,
            layers=sizes.values("layers")[:-1],
            **self._across(),
        )


@dataclass(frozen=True)
class Starbucks(LayeredMethod):
    """
    Starbucks: a short menu of sizes, every one trained at every step, smaller ones pulled to the largest.

    The menu is `sizes`; or every one of `layers` at every one of `dims`; or the diagonal of the model.
    """

    name: ClassVar[str] = "starbucks"
    paper: ClassVar[str] = "Zhuang et al. 2024, arXiv 2410.13230"

    sizes: tuple[str, ...] | None = None
    """The menu as layers:dims, for example 2:24,4:96,6:384, with names if you like: short=2:24,tall=6:384."""
    kl_weight: float = 1.0
    """Weight of the pull of smaller sizes to the largest."""
    kl_on: Literal["similarity", "pooled"] = "similarity"
    """What the pull compares: softmax over similarities in the batch, or over pooled features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sizes is not None and (self.layers is not None or self.dims is not None):
            raise SizeError("give either sizes, or layers and dims; not both")

    def nesting(self, depth: int, width: int) -> Nesting:
        """The menu for a model of this depth and width. Raises `SizeError` if it has not so much."""
        if self.sizes is not None:
            return Nesting.parse(self.sizes).within(Size(layers=depth, dims=width))
        return super().nesting(depth, width) if self.layers or self.dims else diagonal(depth, width)

    def loss(self, model: Any, inner: Any) -> Any:
        """`StarbucksLoss` over the menu."""
        from anysize.text.losses.starbucks import StarbucksLoss

        sizes = self.nesting(model[0].auto_model.config.num_hidden_layers, model.get_embedding_dimension())
        return StarbucksLoss(model, inner, sizes, kl_weight=self.kl_weight, kl_on=self.kl_on, **self._across())


def diagonal(depth: int, width: int, count: int = 6) -> Nesting:
    """
    The menu of Starbucks (arXiv 2410.13230) for a model of any shape: depth and width grow together.

    Layers in even steps; dims are the width and the powers of two below it. (12, 768) gives 2:32 up to 12:768.
    """
    count = min(count, depth)
    powers = [2**power for power in range(20) if 2**power < width]
    dims = [*powers, width][-count:]
    layers = [round(depth * (place + 1) / count) for place in range(count)][-len(dims) :]
    return Nesting.pairs([Size(layers=n, dims=d) for n, d in zip(layers, dims, strict=True)])
