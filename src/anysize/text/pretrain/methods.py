"""The methods that pretrain: ``smae`` (arXiv 2410.13230) and ``mlm``, plain masked-language modelling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.method import Trained
from anysize.text.depth.methods import diagonal


@dataclass(frozen=True)
class Pretrainer(Trained):
    """What both have in common."""

    runs: ClassVar[str] = "anysize.text.pretrain.fit:fit"
    learns_from: ClassVar[str] = "unlabelled texts"
    needs: ClassVar[tuple[str, ...]] = ("text",)
    extra: ClassVar[str | None] = "text"
    reads: ClassVar[str] = "anysize.core.data.plain_text:read_texts"
    marker: ClassVar[str] = "pretraining.json"
    loads: ClassVar[str] = "anysize.text.pretrain.made:Pretrained.load"
    has_decoder: ClassVar[bool] = False

    model: str | None = None
    """The encoder to start from: a folder or a hub name; a folder with config.json and tokenizer alone starts anew."""
    epochs: float = 1.0
    """Passes over the text."""
    batch_size: int = 32
    """Windows of text per step and process."""
    learning_rate: float = 1e-4
    """Peak learning rate, warmed up and decayed linearly."""
    max_length: int | None = None
    """Tokens per window of text, and the most that the result reads. Default: the model's own limit."""
    encoder_mask: float = 0.2
    """The share of tokens that is masked, in whole words."""
    bf16: bool = False
    """Train in bfloat16 (about twice as fast where the processor has it)."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        decoder = self.decoder_share if self.decoder_share is not None else self.encoder_mask
        if not 0 < self.encoder_mask <= decoder < 1:
            raise AnysizeError(
                "masks are shares of the tokens, above 0 and below 1, and the decoder's is not below the encoder's; "
                f"got {self.encoder_mask}" + (f" and {decoder}" if self.has_decoder else "")
            )

    @property
    def decoder_share(self) -> float | None:
        """The share of tokens that is masked for the decoder; None without one."""
        return None

    def nesting(self, depth: int, width: int) -> Nesting:
        """The sizes to train for a model of this depth and width. Raises `SizeError` if it has not so much."""
        raise NotImplementedError

    def told(self, made: Any, out: str) -> str:
        """What it learnt from, the losses of each size, and the next command."""
        about = made.about
        lines = [f"{out}: {about['method']}, learnt from {about['windows']} windows, {about['tokens']} tokens"]
        for size, terms in about["losses_by_size"].items():
            lines.append(f"  {size}: " + ", ".join(f"{name} {value:.3f}" for name, value in terms.items()))
        menu = ",".join(f"{size.layers}:{size.dims}" for size in made.nesting)
        return "\n".join(
            [*lines, f"next: anysize fit PAIRS --method starbucks --model {out} --sizes {menu} --out MODEL"]
        )


@dataclass(frozen=True)
class SMAE(Pretrainer):
    """
    Starbucks Masked Autoencoding: every size of a menu guesses masked words, and makes vectors that hold the text.

    Give the menu that you will tune for (`fit --method starbucks`). Blocks deeper than its largest size are dropped.
    """

    name: ClassVar[str] = "smae"
    axes: ClassVar[tuple[str, ...]] = ("layers", "dims")
    paper: ClassVar[str] = "Zhuang et al. 2024, arXiv 2410.13230"
    has_decoder: ClassVar[bool] = True

    sizes: tuple[str, ...] | None = None
    """The menu as layers:dims, for example 2:24,4:96,6:384, with names if you like. Default: the model's diagonal."""
    decoder_mask: float = 0.4
    """The share of tokens that is masked for the decoder; the encoder's words are among them."""

    @property
    def decoder_share(self) -> float | None:
        """The share of tokens that is masked for the decoder."""
        return self.decoder_mask

    def nesting(self, depth: int, width: int) -> Nesting:
        """The menu for a model of this depth and width. Raises `SizeError` if it has not so much."""
        if self.sizes is None:
            return diagonal(depth, width)
        return Nesting.parse(self.sizes).within(Size(layers=depth, dims=width))


@dataclass(frozen=True)
class MLM(Pretrainer):
    """Masked-language modelling of the whole encoder, as BERT was trained: the rival of ``smae``."""

    name: ClassVar[str] = "mlm"
    axes: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = "Devlin et al. 2018, arXiv 1810.04805"

    def nesting(self, depth: int, width: int) -> Nesting:
        """The one full size."""
        return Nesting.pairs([Size(layers=depth, dims=width)])
