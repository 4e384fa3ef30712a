"""The methods ``m3`` (Cai et al., arXiv 2405.17430) and ``mqt`` (Hu et al., arXiv 2405.19315)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.method import Method
from anysize.tokens.adapters.adapted import any_scale
from anysize.tokens.adapters.options import LowRank, Routed


@dataclass(frozen=True)
class Budgeted(Method):
    """What all have in common: a vision-language model that learns at several budgets of tokens a picture."""

    axes: ClassVar[tuple[str, ...]] = ("tokens",)
    example: ClassVar[str] = "llava-hf/llava-1.5-7b-hf"
    extra: ClassVar[str | None] = "vision"

    model: str | None = None
    """The vision-language model to start from (LLaVA; for grids also Qwen2.5-VL), or a language model beside --tower: a
    folder or a hub name."""
    tower: str | None = None
    """A vision tower to put before a language model; what joins the two learns first (see --align-epochs)."""
    tower_layer: int = -1
    """Which of that tower's hidden states is read: -1 the last, -2 the one before it, as LLaVA does."""
    tokens: tuple[int, ...] | None = None
    """Tokens a picture to train, increasing, for example 1,4,16,64."""
    train: Literal["projector", "language", "all"] = "all"
    """What learns: what makes patches tokens, also the language model, or the tower too."""
    lora: int = 0
    """Rank of adapters through which the language model learns; they are added to its weights at the end. 0: none."""
    epochs: float = 1.0
    """Passes over the rows."""
    batch_size: int = 32
    """Rows per step and process."""
    learning_rate: float = 2e-5
    """Peak learning rate."""
    bf16: bool = False
    """Train in bfloat16 (about twice as fast where the processor has it)."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens is not None:
            Nesting(tokens=self.tokens)
        for name in ("align_epochs", "lora"):
            if getattr(self, name, 0) < 0:
                raise AnysizeError(f"{name.replace('_', '-')} is at least 0; got {getattr(self, name)}")

    def single(self, size: Size) -> Self:
        """The same training at one budget alone: the fixed-size twin."""
        return replace(self, tokens=(size.tokens,))

    def at_full(self) -> Self:
        """The same training with all tokens at every step: what is cut afterwards, to stand beside."""
        return self.single(self.nesting().full)

    def nesting(self) -> Nesting:
        """The sizes to train, where they were named. Raises `SizeError` if they were not."""
        if self.tokens is None:
            raise SizeError("name the budgets with --tokens, for example 1,4,16,64")
        return Nesting(tokens=self.tokens)


@dataclass(frozen=True)
class Pooled(Budgeted):
    """What pools the grid of a picture's tokens."""

    grid: tuple[int, ...] | None = None
    """Rows and columns of tokens that pictures are scaled to, where the tower reads any size (Qwen2.5-VL), for example
    8,6 for pages. Default: the square of the largest of --tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid is not None and (len(self.grid) != 2 or min(self.grid) < 1):
            raise AnysizeError(f"grid is rows and columns, such as 8,6; got {','.join(map(str, self.grid))}")

    def pooling(self, mode: str) -> dict[str, Any]:
        """How tokens become fewer, as a model is told."""
        return {"kind": "pool", "mode": mode} | ({} if self.grid is None else {"grid": list(self.grid)})


@dataclass(frozen=True)
class _Answers(Budgeted, LowRank, Routed):
    """What learns to answer questions."""

    runs: ClassVar[str] = "anysize.tokens.vlm.fit:fit"
    learns_from: ClassVar[str] = "questions about pictures, with answers"
    needs: ClassVar[tuple[str, ...]] = ("image, question, answer", "image, conversations")
    positive: ClassVar[tuple[str, ...]] = (
        *Method.positive, "align_rate", "heads", "rank", "alpha", "bottleneck", "top_k",
    )  # fmt: skip

    draw: Literal["all", "random", "uniform", "log-uniform"] = "all"
    """Sizes of a step: all of tokens, a random one of them, or any whole number (uniform, log-uniform)."""
    align_epochs: float = 0.0
    """Passes in which the projector alone learns, with all tokens, before the rest."""
    align_rate: float = 1e-3
    """Peak learning rate of these."""
    adapters: Literal["none", "ms", "ss", "mss", "mome"] = "none"
    """What adapts the language model, which then stays as it is, and is kept beside it: adapters of low rank, one for
    all numbers of tokens (ms), one each (ss) or both added up (mss); or experts under one router (mome). --train says
    whether these learn, and the tower too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_experts()
        if self.adapters != "none" and self.lora:
            raise AnysizeError(
                "lora is added to the weights at the end, adapters are kept beside them; give one of the two"
            )
        if self.adapters != "none" and self.train == "projector":
            raise AnysizeError("train=projector teaches no adapters; give train=language with them")
        if not self._any_scale() and self.draw in ("uniform", "log-uniform"):
            raise AnysizeError(
                f"adapters of single numbers of tokens learn at those of --tokens alone; give --draw all or random, "
                f"not {self.draw}"
            )

    def adapter(self) -> dict[str, Any]:
        """What adapts the language model, as a model is told; empty for nothing."""
        if self.adapters == "none":
            return {}
        return {"adapter": self.mixture() if self.adapters == "mome" else self.low_rank(self.adapters)}

    def _any_scale(self) -> bool:
        return any_scale(self.adapter().get("adapter", {}))

    def single(self, size: Size) -> Self:
        """The same training at one budget alone: the fixed-size twin."""
        return replace(super().single(size), draw="all")

    def at_full(self) -> Self:
        """The same with all tokens at every step, and adapters that any number runs with."""
        shared: dict[str, Any] = {"router": "shared"} | ({"adapters": "ms"} if self.adapters in ("ss", "mss") else {})
        return replace(super().at_full(), **shared)


@dataclass(frozen=True)
class M3(_Answers, Pooled):
    """
    Matryoshka Multimodal Models: one model that reads a picture as grids nested in each other.

    A smaller number of tokens is the picture's grid, pooled after the projector. Every step answers at every grid, with
    one pass of the tower; nothing is added to the model.
    """

    name: ClassVar[str] = "m3"
    paper: ClassVar[str] = "Cai et al. 2024, arXiv 2405.17430"

    pool: Literal["avg", "spatial", "sequential"] = "avg"
    """How a grid becomes coarser: the mean of each window, its first token, or the first tokens in reading order."""


@dataclass(frozen=True)
class MQT(_Answers):
    """
    Matryoshka Query Transformer: ordered queries in place of the projector, of which any number may be asked.

    The largest of --tokens is how many queries there are; afterwards any whole number up to it runs, and those listed
    are measured.
    """

    name: ClassVar[str] = "mqt"
    paper: ClassVar[str] = "Hu et al. 2024, arXiv 2405.19315"

    draw: Literal["all", "random", "uniform", "log-uniform"] = "uniform"
    """Sizes of a step: all of tokens, a random one of them, or any whole number (uniform as in the paper, where small
    ones are rare; log-uniform)."""
    train: Literal["projector", "language", "all"] = "language"
    """What learns: the queries, also the language model, or the tower too."""
    align_epochs: float = 1.0
    """Passes in which the queries alone learn, all at once, before the rest."""
    heads: int = 16
    """Heads of the attention by which queries look at patches."""
    key_source: Literal["content+position", "position"] = "content+position"
    """What queries look at: what a patch shows and where it is, or, as in the released weights, where it is alone."""

    def nesting(self) -> Nesting:
        """The sizes to train, where they were named; any other number up to the largest runs too."""
        return Nesting.pairs(list(super().nesting()), open=("tokens",) if self._any_scale() else ())
