"""What a model of speech is made of: encoders, projectors, a language model with adapters; how it is kept on disk."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import nn

from anysize.backbones.huggingface import TOKENIZER, config_of, configuration, read_tokenizer
from anysize.backbones.speech.encoders import Lips, SoundEncoder, frame_encoder
from anysize.core.errors import SizeError
from anysize.core.model.contract import NestedModel
from anysize.core.quiet import quiet
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.tokens.adapters.adapted import adapted, any_scale, learnt, owned
from anysize.tokens.budget.frames import FrameRate
from anysize.tokens.speech.scaled.projector import RateProjector
from anysize.tokens.speech.scaled.scales import checked_tasks, rate_of, scales_of
from anysize.tokens.speech.scaled.sequences import Writer

FOLDERS = {"audio": "sound", "video": "lips"}
"""Axis -> the folder, beside our weights, of what prepares its input."""


class Parts(NamedTuple):
    """Other people's models that one of speech is made of."""

    lm: Any
    """A causal language model of transformers."""
    tokenizer: Any = None
    audio: SoundEncoder | None = None
    video: Lips | None = None


class HoldsSpeech(NestedModel):
    """
    Encoders, a projector for each, and a language model, nested in shares of the frames: axes ``audio`` and ``video``.

    `spec` holds ``tasks``, ``mode`` (pool, stack), ``remainder`` (drop, keep), ``hidden``, ``norm``, ``share`` of the
    projectors, ``missing`` (refuse, zero), and ``adapter``: of kind lora, mome or none.

    Raises `SizeError` for other axes.
    """

    shares = ("audio", "video")
    encoders: Any
    """Axis -> what makes frames of it."""
    projectors: Any
    """Axis -> its `RateProjector`."""

    def __init__(self, nesting: Nesting, parts: Parts, spec: Mapping[str, Any]) -> None:
        super().__init__(nesting)
        if not set(nesting.axes) <= {"audio", "video"}:
            raise SizeError(f"speech is nested in audio and video; got {', '.join(nesting.axes)}")
        self.spec = dict(spec)
        self.tasks_ = checked_tasks(spec["tasks"], nesting.axes)
        self.encoders = nn.ModuleDict()
        self.projectors = nn.ModuleDict()
        self.lm, self.tokenizer = parts.lm, parts.tokenizer
        width = int(self.lm.get_input_embeddings().embedding_dim)
        reduce = FrameRate(spec["mode"], spec["remainder"])
        for axis in nesting.axes:
            encoder = getattr(parts, axis)
            self.encoders[axis] = encoder
            self.projectors[axis] = RateProjector(
                reduce, [rate_of(axis, share) for share in nesting.values(axis)], encoder.width, width,
                hidden=spec["hidden"], share=spec["share"], norm=spec["norm"],
            )  # fmt: skip
        spread = float(self.lm.get_input_embeddings().weight.detach().std()) or 0.02
        self.marks = nn.Parameter(spread * torch.randn(4, width))
        scales = [scale for task in self.tasks_ for scale in scales_of(nesting, task)]
        self.lm.requires_grad_(False)
        self.adapters = adapted(self.lm, scales, spec["adapter"])

    @property
    def writer(self) -> Writer:
        """Puts rows together for the language model."""
        return Writer(self.lm, self.tokenizer)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.marks.device

    def learnt(self) -> dict[str, nn.Parameter]:
        """What a method trains while encoders and language model are frozen, by its name."""
        kept = {name for name, _ in self.named_parameters() if name.partition(".")[0] in ("projectors", "marks")}
        kept |= learnt(self.adapters, "lm")
        return {name: weight for name, weight in self.named_parameters() if name in kept}

    def again(self, nesting: Nesting) -> Self:
        """
        A model of the same weights that offers other rates, trained for or not.

        Raises `SizeError` if weights belong to single rates or scales, so that others have none.
        """
        if not (self.spec["share"] and any_scale(self.spec["adapter"])) and not set(nesting) <= set(self.nesting):
            there = "; ".join(map(str, self.nesting))
            raise SizeError(
                f"projectors or adapters of this model belong to single rates, so it runs at {there} alone; fit with "
                "--share (and --strategy ms) for others"
            )
        made = copy.copy(self)
        made.nesting, made.size = nesting, nesting.full
        return made

    # The contract

    def config(self) -> dict[str, Any]:
        """The models' own configurations, and `spec`."""
        encoders = {axis: encoder.config() for axis, encoder in self.encoders.items()}
        return {"lm": config_of(self.lm), "encoders": encoders, "spec": self.spec}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration, without what prepares sounds, films and texts."""
        from transformers import AutoModelForCausalLM

        with quiet():
            lm = AutoModelForCausalLM.from_config(configuration(config["lm"])).eval()
        makers: dict[str, Any] = {"audio": SoundEncoder.build, "video": frame_encoder}
        encoders = {axis: makers[axis](held) for axis, held in config["encoders"].items()}
        return cls(nesting, Parts(lm, **encoders), config["spec"])

    def owned_tensors(self) -> dict[str, Size]:
        """Projectors and adapters of one rate or scale are needed by the sizes that contain it."""
        found = {}
        for axis in self.nesting.axes:
            shares = {str(rate_of(axis, share)): share for share in self.nesting.values(axis)}
            for name in self.projectors[axis].state_dict():
                rate = name.split(".")[1]
                if rate in shares:
                    found[f"projectors.{axis}.{name}"] = Size({axis: shares[rate]})
        return found | owned(self.adapters, "lm")

    def saved_state(self) -> dict[str, torch.Tensor]:
        """All weights, those that modules share (a tied head) once."""
        tied = getattr(self.lm.config, "tie_word_embeddings", False)
        names = {f"lm.{name}" for name in (self.lm._tied_weights_keys or ())} if tied else set()
        return {name: value for name, value in self.state_dict().items() if name not in names}

    def save_parts(self, directory: Path) -> None:
        """What prepares sounds, films and texts."""
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(str(directory / TOKENIZER))
        for axis, encoder in self.encoders.items():
            encoder.save(directory / FOLDERS[axis])

    def load_parts(self, directory: Path) -> None:
        """The same, and the weights that modules share."""
        self.lm.tie_weights()
        if (directory / TOKENIZER).is_dir():
            self.tokenizer = read_tokenizer(directory)
        for axis, encoder in self.encoders.items():
            if (directory / FOLDERS[axis]).is_dir():
                encoder.load(directory / FOLDERS[axis])

    def take_parts(self, whole: Self) -> None:
        """The same, and the weights that modules share."""
        self.lm.tie_weights()
        self.tokenizer = whole.tokenizer
        for axis, encoder in self.encoders.items():
            if hasattr(encoder, "prepare"):
                encoder.prepare = whole.encoders[axis].prepare
