"""The methods ``mtsk`` (Cappellazzo et al., arXiv 2503.06362) and ``mome`` (the same group, arXiv 2510.04136)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.method import Method
from anysize.tokens.adapters.adapted import any_scale
from anysize.tokens.adapters.options import LowRank, Routed
from anysize.tokens.speech.scaled.scales import TASKS, checked_tasks, nested, rate_of


@dataclass(frozen=True)
class Rated(Method):
    """What all have in common: encoders and a language model that stay as they are, joined at several rates."""

    runs: ClassVar[str] = "anysize.tokens.speech.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("audio", "video")
    extra: ClassVar[str | None] = "speech"
    learns_from: ClassVar[str] = "speech that is heard, seen on lips, or both, with transcripts"
    needs: ClassVar[tuple[str, ...]] = ("audio, video, text", "audio, text", "video, text")
    positive: ClassVar[tuple[str, ...]] = (*Method.positive, "hidden")

    encoder: str | None = None
    """What hears: an encoder of transformers such as Whisper's or wav2vec 2.0, a folder or a hub name."""
    lips: str = "pixels"
    """What sees: an encoder of pictures of transformers, frame by frame; a file of AV-HuBERT's weights, for films of
    mouths; or pixels, the frames as they are in grey."""
    lm: str | None = None
    """The causal language model that writes: a folder or a hub name."""
    audio_rates: tuple[int, ...] | None = None
    """Frames of sound to a token, increasing, for example 4,16: the sizes audio=1/4 and audio=1/16."""
    video_rates: tuple[int, ...] | None = None
    """Frames of lips to a token, for example 2,5."""
    mode: Literal["pool", "stack"] = "pool"
    """What one token holds of its frames: their mean, or all side by side."""
    remainder: Literal["keep", "drop"] = "keep"
    """What becomes of the last frames that fill no token: one more token, or nothing (as in the authors' code)."""
    share: bool = False
    """One projector for all rates (pool alone), else one a rate; with adapters or a router for all too, rates run that
    were not trained."""
    hidden: int | None = None
    """Width between the two layers of a projector. Default: that of the language model."""
    norm: bool = True
    """A LayerNorm after a projector."""
    tasks: tuple[str, ...] | None = None
    """What is trained, some of avsr, asr, vsr: speech heard and seen, heard, seen. Default: all that there are rates
    for, at once."""
    task_weights: tuple[float, ...] | None = None
    """Weights of the tasks' losses, one each. Default: equal."""
    missing: Literal["refuse", "zero"] = "refuse"
    """A clip without sound or film that its task needs: refused, or silence or darkness stands for it."""
    draw: Literal["all", "random"] = "all"
    """Pairs of rates of a step: all of them, or one (as in Omni-AVSR)."""
    train: Literal["adapters", "all"] = "adapters"
    """What learns: projectors and adapters, or the encoders and the language model too."""
    epochs: float = 10.0
    """Passes over the clips."""
    batch_size: int = 16
    """Clips a step and process."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.0
    """Of what learns (0.1 in the paper)."""
    bf16: bool = False
    """Compute in bfloat16; what learns stays float32."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.audio_rates is not None or self.video_rates is not None:
            checked_tasks(self.trained(), self.nesting().axes)
        if self.mode == "stack" and self.share:
            raise AnysizeError("stacked frames differ in width between rates, so they cannot share a projector; pool")
        weights = self.task_weights
        if weights is not None and (
            self.tasks is None or len(weights) != len(self.tasks) or min(weights) < 0 or not sum(weights) > 0
        ):
            raise AnysizeError(f"task-weights are one for each of --tasks, at least 0 and not all 0; got {weights}")

    def nesting(self) -> Nesting:
        """The sizes to train. Raises `SizeError` if no rates were named."""
        open_ = self.share and any_scale(self.adapter())
        return nested(open=open_, audio=self.audio_rates, video=self.video_rates)

    def trained(self) -> tuple[str, ...]:
        """The tasks to train."""
        axes = self.nesting().axes
        return self.tasks or (next(task for task, given in TASKS.items() if given == axes),)

    def single(self, size: Size) -> Self:
        """The same training at one pair of rates alone: the fixed-size twin."""
        rates: dict[str, Any] = {f"{axis}_rates": (rate_of(axis, size[axis]),) for axis in size}
        return replace(self, **rates)

    def at_full(self) -> Self:
        """The same training at the lightest rates alone, in weights that run at any: what is pooled harder later."""
        return replace(self.single(self.nesting().full), share=True)

    def adapter(self) -> dict[str, Any]:
        """What adapts the language model, as `NestedSpeech` takes it."""
        raise NotImplementedError(f"{type(self).__name__} does not say what adapts the language model")

    def spec(self, width: int) -> dict[str, Any]:
        """How a model of language `width` is made, as `NestedSpeech` takes it."""
        return {
            "tasks": list(self.trained()), "mode": self.mode, "remainder": self.remainder, "share": self.share,
            "hidden": self.hidden or width, "norm": self.norm, "missing": self.missing, "adapter": self.adapter(),
        }  # fmt: skip


@dataclass(frozen=True)
class MTSK(Rated, LowRank):
    """
    Llama-MTSK: one speech recogniser over a language model, for many rates of sound and of lips.

    Encoders run once; a rate is pooled or stacked frames and a projector, and adapters of low rank on the language
    model are shared by all pairs of rates, belong to one each, or both.
    """

    name: ClassVar[str] = "mtsk"
    paper: ClassVar[str] = "Cappellazzo et al. 2025, arXiv 2503.06362"
    positive: ClassVar[tuple[str, ...]] = (*Rated.positive, "rank", "alpha")

    strategy: Literal["ms", "ss", "mss"] = "ss"
    """Adapters: one for all pairs of rates, one a pair, or both added up."""

    def adapter(self) -> dict[str, Any]:
        """Adapters of low rank."""
        return self.low_rank(self.strategy)

    def at_full(self) -> Self:
        """The same training at the lightest rates alone, with an adapter that any rate runs with."""
        return replace(super().at_full(), strategy="ms")


@dataclass(frozen=True)
class MoME(Rated, Routed):
    """
    Mixture of Matryoshka Experts: small experts beside a frozen language model, under one router for all rates.

    What rich rates teach the experts serves heavy ones, and what is held does not grow with the number of rates.
    """

    name: ClassVar[str] = "mome"
    paper: ClassVar[str] = "Cappellazzo et al. 2025, arXiv 2510.04136"
    positive: ClassVar[tuple[str, ...]] = (*Rated.positive, "bottleneck", "top_k")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_experts()

    def adapter(self) -> dict[str, Any]:
        """Experts."""
        return self.mixture()

    def at_full(self) -> Self:
        """The same training at the lightest rates alone, with a router that any rate runs with."""
        return replace(super().at_full(), router="shared")
