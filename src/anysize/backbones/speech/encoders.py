"""
What hears and what sees: encoders of transformers, run as they are, that make frames of sounds and of films.

Of sound: Whisper's encoder, whose window has one length, and those that read waves of any length (wav2vec 2.0, HuBERT,
WavLM, Data2Vec). Of films: any model of pictures, frame by frame, the mean over a frame's tokens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from anysize.backbones.huggingface import config_of, configuration, opening, pretrained
from anysize.backbones.speech.lips import AV_HUBERT, LipEncoder, is_checkpoint
from anysize.core.errors import AnysizeError, refused_as_damaged
from anysize.core.quiet import quiet

SHORTEST = 0.1
"""Seconds to which a wave is filled up with silence, so that every encoder makes a frame of it."""
PIXELS = "pixels"
"""In place of the name of an encoder of frames: the frames themselves."""
AT_ONCE = 256
"""Frames of a film that are seen at once."""


class Encoder(nn.Module):
    """What two kinds of encoder share: a model of transformers, and what prepares its input, in a format of its own."""

    what = "encoder"

    def __init__(self, model: Any, prepare: Any = None) -> None:
        super().__init__()
        self.model = model
        self.prepare = prepare

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> Self:
        """An untrained one of this configuration, without what prepares its input."""
        from transformers import AutoModel

        with quiet():
            return cls(cls._part(AutoModel.from_config(configuration(config)).eval()))

    def config(self) -> dict[str, Any]:
        """Its configuration, as plain values."""
        return config_of(self.model)

    def save(self, folder: Path) -> None:
        """Write what prepares its input."""
        if self.prepare is not None:
            self.prepare.save_pretrained(str(folder))

    @classmethod
    def _part(cls, model: Any) -> Any:
        return model

    @property
    def width(self) -> int:
        """Of its frames."""
        sizes = getattr(self.model.config, "hidden_sizes", None)  # of networks of convolutions, the last
        return int(sizes[-1] if sizes else self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(iter(self.model.parameters())).device


class SoundEncoder(Encoder):
    """Sounds to frames. Raises `AnysizeError` for a model of another kind than those named above."""

    what = "encoder of sound"

    def __init__(self, model: Any, prepare: Any = None) -> None:
        super().__init__(model, prepare)
        config = model.config
        self.windows = config.model_type == "whisper"
        if not self.windows and not hasattr(config, "conv_stride"):
            raise AnysizeError(
                f"a model of type {config.model_type!r} is no encoder of sound; expected Whisper, or one that reads "
                "waves (wav2vec 2.0, HuBERT, WavLM, Data2Vec)"
            )

    @classmethod
    def open(cls, name: str | os.PathLike[str]) -> Self:
        """By folder or hub name, in float32. Raises `AnysizeError` if there is none that can be opened."""
        from transformers import AutoFeatureExtractor, AutoModel

        with opening(cls.what, name):
            model = cls._part(pretrained(AutoModel, name, dtype=torch.float32).eval())
            return cls(model, pretrained(AutoFeatureExtractor, name))

    def load(self, folder: Path) -> None:
        """Read what prepares sounds. Raises `CheckpointError` if it cannot be read."""
        from transformers import AutoFeatureExtractor

        with refused_as_damaged(f"what prepares sounds in {folder} cannot be read"):
            self.prepare = pretrained(AutoFeatureExtractor, folder, local_files_only=True)

    @classmethod
    def _part(cls, model: Any) -> Any:
        return model.get_encoder() if model.config.is_encoder_decoder else model

    @property
    def rate(self) -> int:
        """Samples a second that it takes."""
        return int(self.prepare.sampling_rate)

    @property
    def frame_rate(self) -> float:
        """Frames a second that it makes; the two convolutions of Whisper halve those of the spectrogram."""
        if self.windows:
            return float(self.prepare.sampling_rate / self.prepare.hop_length / 2)
        return float(self.prepare.sampling_rate / np.prod(self.model.config.conv_stride))

    def forward(self, sounds: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """(samples,) each -> (frames, width) each, those of its own time alone; what one gives depends on no other."""
        return self._of_windows(sounds) if self.windows else [self._of_wave(one) for one in sounds]

    def _of_windows(self, sounds: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """A sound that is longer than the encoder's window is heard window by window."""
        most = 2 * int(self.model.config.max_source_positions) * int(self.prepare.hop_length)
        pieces = [one[start : start + most] for one in sounds for start in range(0, len(one), most)]
        features = self.prepare(
            pieces, sampling_rate=self.rate, padding="max_length", max_length=most, truncation=True,
            return_tensors="pt",
        )["input_features"]  # fmt: skip
        heard = self.model(features.to(self.device)).last_hidden_state
        counts = [max(1, int(len(one) / self.rate * self.frame_rate)) for one in pieces]
        rows = iter([row[:count] for row, count in zip(heard, counts, strict=True)])
        return [torch.cat([next(rows) for _ in range(0, len(one), most)]) for one in sounds]

    def _of_wave(self, sound: np.ndarray) -> torch.Tensor:
        least = int(SHORTEST * self.rate)
        filled = np.pad(sound, (0, max(0, least - len(sound))))
        values = self.prepare(filled, sampling_rate=self.rate, return_tensors="pt")["input_values"]
        heard: torch.Tensor = self.model(values.to(self.device)).last_hidden_state[0]
        return heard


class FrameEncoder(Encoder):
    """Frames of films, one by one, through a model of pictures."""

    what = "encoder of frames"

    @classmethod
    def open(cls, name: str | os.PathLike[str]) -> Self:
        """By folder or hub name, in float32. Raises `AnysizeError` if there is none that can be opened."""
        from transformers import AutoImageProcessor, AutoModel

        with opening(cls.what, name):
            model = cls._part(pretrained(AutoModel, name, dtype=torch.float32).eval())
            return cls(model, pretrained(AutoImageProcessor, name))

    def load(self, folder: Path) -> None:
        """Read what prepares frames. Raises `CheckpointError` if it cannot be read."""
        from transformers import AutoImageProcessor

        with refused_as_damaged(f"what prepares frames in {folder} cannot be read"):
            self.prepare = pretrained(AutoImageProcessor, folder, local_files_only=True)

    @classmethod
    def _part(cls, model: Any) -> Any:
        return getattr(model, "vision_model", model)  # of a model of two towers, the one that sees

    def forward(self, films: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """(n, rows, columns, 3) each -> (n, width) each."""
        found = []
        for one in films:
            pixels = self.prepare(list(one), return_tensors="pt")["pixel_values"].to(self.device)
            seen = [self.model(part).last_hidden_state for part in pixels.split(AT_ONCE)]
            found.append(torch.cat([part.flatten(2).mean(2) if part.ndim == 4 else part.mean(1) for part in seen]))
        return found


class PixelFrames(nn.Module):
    """
    Frames as they are: grey, averaged to side x side, less the film's own mean and over its deviation. No weights.

    What lips are read from where no encoder of frames is named.
    """

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        self.side = side

    def forward(self, films: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """(n, rows, columns, 3) each -> (n, side * side) each."""
        found = []
        for one in films:
            grey = torch.from_numpy(np.ascontiguousarray(one)).float().mean(3)[:, None]
            small = nn.functional.adaptive_avg_pool2d(grey, self.side).flatten(1)
            found.append((small - small.mean()) / small.std().clamp(min=1e-3))
        return found

    @property
    def width(self) -> int:
        """Of its frames."""
        return self.side**2

    def config(self) -> dict[str, Any]:
        """Its configuration."""
        return {"model_type": PIXELS, "side": self.side}

    def save(self, folder: Path) -> None:
        """There is nothing to write."""

    def load(self, folder: Path) -> None:
        """There is nothing to read."""


Lips = FrameEncoder | LipEncoder | PixelFrames
"""What sees films."""


def frame_encoder(config: Mapping[str, Any]) -> Lips:
    """An untrained encoder of frames of this configuration."""
    if config["model_type"] == PIXELS:
        return PixelFrames(int(config["side"]))
    return LipEncoder.build(config) if config["model_type"] == AV_HUBERT else FrameEncoder.build(config)


def lips_of(name: str) -> Lips:
    """By folder or hub name, by a file of AV-HuBERT's weights, or ``pixels``."""
    if name == PIXELS:
        return PixelFrames()
    return LipEncoder.open(name) if is_checkpoint(name) else FrameEncoder.open(name)
