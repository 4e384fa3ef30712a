"""Clips: what is said in a sound, on lips, or both, as files name it; and what is wrong with one, in a sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from anysize.backbones.speech.media import Film, called, film, has_sound, sound
from anysize.core.arguments import shown
from anysize.core.data.files.media import kind_of_file
from anysize.core.errors import DataError
from anysize.tokens.speech.scaled.scales import TASKS

APART = 0.25
"""Seconds by which a film and its sound may differ in length."""
FPS = 25.0
"""Frames of lips a second, as all papers of this kind have them."""


class Clip(NamedTuple):
    """Files, their bytes, or arrays: samples at the encoder's rate, frames at `FPS`."""

    audio: Any = None
    video: Any = None
    text: str | None = None
    """What is said."""

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return called(self.audio if self.video is None else self.video, "the clip")


class Opened(NamedTuple):
    """A clip, read: samples (n,) and frames (n, rows, columns, 3), of what its task is given."""

    task: str
    audio: np.ndarray | None
    video: np.ndarray | None
    seconds: float


def clip_of(row: Any) -> Clip:
    """A file, its bytes (of a sound), or parts: ``[{"audio": file}, {"video": file}]``. `DataError` for others."""
    if isinstance(row, Clip):
        return row
    if isinstance(row, (str, os.PathLike)):
        return Clip(video=row) if kind_of_file(row) == "video" else Clip(audio=row)
    if isinstance(row, bytes):
        return Clip(audio=row)
    if isinstance(row, Sequence) and row and all(isinstance(part, Mapping) and len(part) == 1 for part in row):
        named = {name: held for part in row for name, held in part.items()}
        if len(named) == len(row) and named.keys() <= {"audio", "video"}:
            return Clip(**named)
    raise DataError(f"{shown(row)} is no clip; expected a sound, a film, or one of each")


def opened(clip: Clip, tasks: Sequence[str], rate: int, missing: str) -> Opened:
    """
    A clip as one of `tasks` takes it; `rate` samples a second.

    What a film is asked for and no sound beside it gives, its own sound does. What is missing is refused, or with
    ``missing="zero"`` silence or darkness of the same length stands for it. Raises `DataError` for that, and for a film
    that is longer or shorter than its sound by more than `APART` seconds.
    """
    axes = {axis for task in tasks for axis in TASKS[task]}
    heard = clip.audio
    if heard is None and _is_file(clip.video) and "audio" in axes and has_sound(clip.video):
        heard = clip.video
    given = {"audio": heard, "video": clip.video}
    there = {axis for axis in axes if given[axis] is not None}
    task = next((one for one in tasks if set(TASKS[one]) == there), None)
    if task is None and (missing != "zero" or not there):
        lacks = " and ".join(sorted(axes - there)) or "part of it"
        raise DataError(
            f"{clip.name} has no {lacks}, and this model was trained for {', '.join(tasks)}; train with --missing "
            "zero, or for the tasks asr and vsr too"
        )
    audio = sound(heard, rate, clip.name) if "audio" in there else None
    seen: Film | None = film(clip.video, FPS, clip.name) if "video" in there else None
    lengths = [*([len(audio) / rate] if audio is not None else []), *([seen.seconds] if seen is not None else [])]
    if len(lengths) == 2 and abs(lengths[0] - lengths[1]) > APART:
        apart = abs(lengths[0] - lengths[1])
        raise DataError(
            f"{clip.name} lasts {lengths[1]:.2f} s and its sound {lengths[0]:.2f} s, {apart:.2f} s apart; expected at "
            f"most {APART} s"
        )
    video = None if seen is None else seen.frames
    if task is None:
        task = max(tasks, key=lambda one: len(TASKS[one]))
        if audio is None and "audio" in TASKS[task]:
            audio = np.zeros(max(1, round(lengths[0] * rate)), np.float32)
        if video is None and "video" in TASKS[task]:
            video = np.zeros((max(1, round(lengths[0] * FPS)), 16, 16, 3), np.uint8)
    return Opened(task, audio, video, max(lengths))


def _is_file(video: Any) -> bool:
    return video is not None and not isinstance(video, np.ndarray)
