"""The method ``matquant`` (Nair et al. 2025, arXiv 2502.06786): one file of codes, every precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sides import Sides
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.method import Trained

if TYPE_CHECKING:
    from anysize.quantize.codes.scheme import Scheme
    from anysize.quantize.training.widths import Widths


@dataclass(frozen=True)
class MatQuant(Trained):
    """
    Matryoshka Quantization: 8-bit codes whose most significant bits are good 4-bit and 2-bit codes.

    The layers named by --modules learn at all widths at once. With labels (pairs, triplets, scored pairs, judgements)
    they learn the task, with texts alone to keep the float model's embeddings; a language model learns the next token.
    """

    name: ClassVar[str] = "matquant"
    axes: ClassVar[tuple[str, ...]] = ("bits",)
    paper: ClassVar[str] = "Nair et al. 2025, arXiv 2502.06786"
    learns_from: ClassVar[str] = "pairs, judgements or texts"
    needs: ClassVar[tuple[str, ...]] = ("text",)
    extra: ClassVar[str | None] = "text"
    runs: ClassVar[str] = "anysize.quantize.training.fit:fit"
    positive: ClassVar[tuple[str, ...]] = (*Trained.positive, "scale", "calibration")

    model: str | None = None
    """The float model: an anysize model, or a sentence encoder or causal language model by folder or hub name."""
    bits: tuple[int, ...] = (8, 4, 2)
    """Widths to train, widest first."""
    weights: tuple[str, ...] | None = None
    """Weight of the loss at each of bits, for example 0.1,0.1,1 (the default: the narrowest 1, the others 0.1)."""
    base: Literal["qat", "omniquant", "minmax"] = "qat"
    """qat trains the weights; omniquant only where their codes begin and end, layer by layer; minmax nothing."""
    distill: str | None = None
    """Let narrow widths learn from a wide one too: "8->2" or "8->4;2". A width not in bits learns from that alone."""
    modules: tuple[str, ...] = ("ffn",)
    """What to quantise: ffn, attention, linear (both), embedding, or patterns of module names."""
    slice_mode: Literal["round_clamp", "extra", "floor_mid"] = "round_clamp"
    """How widths are cut: the paper's rounding, its extra precision, or floor with exact nesting."""
    parent_bits: int = 8
    """Width of the code from which all others are cut."""
    group_size: int | None = None
    """Input features that share a scale. Default: one scale per output channel."""
    symmetric: bool = True
    """Fix the zero-point in the middle, where every width has a level at zero and every export format can hold it.
    Without, codes run from a row's smallest weight to its largest, as in the paper."""
    untrained: tuple[int, ...] | None = None
    """Widths to offer though nothing trains them. Default: 6 and 3 where they lie between trained ones."""
    layout: Literal["planes", "uint8"] = "planes"
    """How codes are saved: in bit planes, so that a width reads its own alone, or a byte each."""
    layers: tuple[int, ...] | None = None
    """Numbers of layers to train, each at every one of bits; for models that can be cut there."""
    dims: tuple[int, ...] | None = None
    """Widths of the embedding to train, each at every one of bits."""
    sizes: tuple[str, ...] | None = None
    """Instead of layers, dims and bits a menu: layers=2:dims=96:bits=2,layers=6:dims=384:bits=8 or 2:96:2,6:384:8, with
    names if you like: small=2:96:2,tall=6:384:8."""
    learn_from: Literal["auto", "labels", "embeddings"] = "auto"
    """Labels where there are some, or always the float model's embeddings."""
    sides: Sides = "retrieval"
    """retrieval: encode anchors as queries and all other texts as documents, where the model has prompts for the two.
    symmetric: encode all alike, as for paraphrases. Scored pairs are always alike."""
    train: Literal["quantized", "all"] = "quantized"
    """Which weights move: those that become codes, or all."""
    epochs: float = 1.0
    """Passes over the data (for omniquant: over the calibration texts, per layer)."""
    batch_size: int = 32
    """Rows per step and process."""
    learning_rate: float = 5e-5
    """Peak learning rate (for omniquant, which learns few numbers, 0.005 suits)."""
    scale: float = 20.0
    """Inverse temperature of softmax and CoSENT over cosine similarities."""
    calibration: int = 256
    """Texts that omniquant looks at."""
    clip_only: bool = False
    """omniquant: leave the inputs of layers as they are, so that every export format can hold the layers."""
    max_length: int | None = None
    """Cut texts at so many tokens, in training and ever after. Default: the model's limit (language models: 256)."""
    bf16: bool = False
    """Train and measure in bfloat16 (about twice as fast where the processor has it)."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sizes is not None and (self.layers is not None or self.dims is not None):
            raise SizeError("give either sizes, or layers, dims and bits; not both")
        if self.watch is not None and self.base != "qat":
            raise AnysizeError(f"base {self.base} trains in no steps that could be watched; leave out watch")
        self.scheme()
        self.widths()

    def scheme(self) -> Scheme:
        """How codes are made."""
        from anysize.quantize.codes.scheme import Scheme

        return Scheme(self.parent_bits, self.slice_mode, self.group_size, self.symmetric)

    def widths(self) -> Widths:
        """Which widths are trained and offered."""
        from anysize.quantize.training.widths import widths

        bits = self.bits if self.sizes is None else tuple(sorted({size.bits for size in self._menu()}, reverse=True))
        untrained = () if self.sizes is not None else self.untrained
        try:
            weights = None if self.weights is None else [float(weight) for weight in self.weights]
        except ValueError:
            raise AnysizeError(f"weights {','.join(self.weights or ())} are not numbers such as 0.1,0.1,1") from None
        return widths(
            bits, self.parent_bits, weights=weights, distill=self.distill, untrained=untrained, mode=self.slice_mode
        )

    def nesting(self) -> Nesting:
        """The sizes of the model: bits, beside layers and dims where they were named; untrained widths weigh 0."""
        asked = self.widths()
        if self.sizes is not None:
            menu = self._menu()
            return Nesting.pairs(menu, [asked.weights[size.bits] for size in menu], menu.names)
        axes = {name: values for name, values in (("layers", self.layers), ("dims", self.dims)) if values is not None}
        grid = Nesting(**axes, bits=asked.offered)
        return Nesting.pairs(list(grid), [asked.weights.get(size.bits, 0.0) for size in grid])

    def _menu(self) -> Nesting:
        menu = Nesting.parse(self.sizes or (), ("layers", "dims", "bits"))
        if "bits" not in menu.axes:
            raise SizeError(f"sizes of a quantised model name bits; got {menu[0]}, expected {menu[0]},bits=4")
        return menu

    def single(self, size: Size) -> MatQuant:
        """The same training for one size alone, with scales of its own width: the fixed-size twin."""
        rest: dict[str, Any] = {axis: (value,) for axis, value in size.items() if axis != "bits"}
        return replace(self, **{**_alone(size.bits), **rest, "sizes": None, "parent_bits": size.bits})

    def sliced(self) -> MatQuant:
        """The same training for the widest width alone, which then is cut to all others, trained for none."""
        nesting = self.nesting()
        rest: dict[str, Any] = {axis: (value,) for axis, value in nesting.full.items() if axis != "bits"}
        cut = {"untrained": nesting.values("bits")[:-1], "sizes": None}
        return replace(self, **{**_alone(nesting.full.bits), **rest, **cut})

    def minmax(self, size: Size) -> MatQuant:
        """No training, scales of that width's own."""
        return replace(self.single(size), base="minmax")


def _alone(bits: int) -> dict[str, Any]:
    return {"bits": (bits,), "untrained": (), "weights": None, "distill": None}
