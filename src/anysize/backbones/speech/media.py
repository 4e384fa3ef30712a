"""Sounds and films as every model here takes them: one channel at one rate; frames at one rate, with their sound."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from anysize.core.arguments import shown
from anysize.core.errors import AnysizeError, DataError

SHORT = 0.9
"""A file that holds less than this share of the time that it says it holds was cut short."""
LONGEST = 3600.0
"""Seconds of a sound or a film that are read."""


class Film(NamedTuple):
    """Frames at one rate."""

    frames: np.ndarray
    """(n, rows, columns, 3), uint8."""
    seconds: float


def sound(source: Any, rate: int, name: str | None = None) -> np.ndarray:
    """
    The samples (n,) of a file or its bytes, the mean of its channels, from -1 to 1 and so many a second, float32.

    Of a film its sound is taken. An array is taken as it is, at that rate. Raises `DataError` if there is no sound, or
    it cannot be read or was cut short.
    """
    name = name or called(source, "a sound")
    if isinstance(source, np.ndarray):
        if source.ndim != 1 or not np.issubdtype(source.dtype, np.floating) or not np.isfinite(source).all():
            raise DataError(
                f"an array of shape {source.shape} of {source.dtype} is no sound; expected finite floats (n,)"
            )
        found = source.astype(np.float32)
    else:
        from av import AudioResampler

        with _opened(source, name) as file:
            if not file.streams.audio:
                raise DataError(f"{name} has no sound")
            stream, decoded = file.streams.audio[0], list[Any]()
            resampler = AudioResampler(format="fltp", rate=rate)  # to one channel it would add them
            for frame in file.decode(stream):
                decoded += resampler.resample(frame)
            said = float(stream.duration * stream.time_base) if stream.duration else 0.0
            parts = [part.to_ndarray().mean(0) for part in [*decoded, *(resampler.resample(None) if decoded else ())]]
        found = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        _check_whole(name, len(found) / rate, said)
    if not len(found):
        raise DataError(f"{name} holds no sound: it has 0 seconds")
    return found


def film(source: Any, rate: float, name: str | None = None) -> Film:
    """
    The frames of a file or its bytes at so many a second: at each moment the one that is shown then.

    An array (n, rows, columns[, 3]) of eight bits is taken as it is, at that rate. Raises `DataError` if there is no
    picture in it, or it cannot be read or was cut short.
    """
    name = name or called(source, "a film")
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim not in (3, 4) or (source.ndim == 4 and source.shape[3] != 3):
            raise DataError(
                f"an array of shape {source.shape} of {source.dtype} is no film; expected uint8 (n, rows, columns[, 3])"
            )
        frames = np.repeat(source[..., None], 3, 3) if source.ndim == 3 else source
        if not len(frames):
            raise DataError(f"{name} holds no frame")
        return Film(frames, len(frames) / rate)
    pictures: list[np.ndarray] = []
    times: list[float] = []
    with _opened(source, name) as file:
        if not file.streams.video:
            raise DataError(f"{name} has no pictures")
        stream = file.streams.video[0]
        said = float(stream.duration * stream.time_base) if stream.duration else 0.0
        own = float(stream.average_rate or rate)
        for frame in file.decode(stream):
            pictures.append(frame.to_ndarray(format="rgb24"))
            times.append(len(times) / own if frame.time is None else float(frame.time))
    if not pictures:
        raise DataError(f"{name} holds no frame")
    seconds = times[-1] - times[0] + 1 / own
    _check_whole(name, seconds, said)
    moments = times[0] + (np.arange(max(1, round(seconds * rate))) + 0.5) / rate
    which = np.searchsorted(np.array(times), moments, side="right") - 1
    return Film(np.stack([pictures[place] for place in which.clip(0)]), seconds)


def called(source: Any, otherwise: str) -> str:
    """What a source is called in a sentence."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else otherwise


@contextmanager
def _opened(source: Any, name: str) -> Iterator[Any]:
    try:
        import av
    except ImportError:
        raise AnysizeError("reading sounds and films needs the 'speech' extra: pip install 'anysize[speech]'") from None
    if not isinstance(source, (str, os.PathLike, bytes)):
        raise DataError(f"{shown(source)} is no sound or film; expected a file, its bytes or an array")
    try:
        _check_length(source, name)
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source), "r") as file:
            if file.duration is not None and file.duration / av.time_base > LONGEST:
                raise DataError(f"{name} lasts {file.duration / av.time_base:.0f} s; at most {LONGEST:.0f} s are read")
            yield file
    except FileNotFoundError:
        raise DataError(f"{name} is not there; expected a sound or a film") from None
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{name} cannot be read as a sound or a film ({reason}); it may be broken or cut short"
        ) from None


def _check_length(source: Any, name: str) -> None:
    """A WAV says how many bytes it has; where fewer are there, its readers take what is there and say nothing."""
    if isinstance(source, bytes):
        head, there = source[:12], len(source)
    else:
        there = os.path.getsize(source)
        with open(source, "rb") as file:
            head = file.read(12)
    said = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and head[8:] == b"WAVE" and there < SHORT * said and said < 2**32:  # a stream says 2**32 - 1
        raise DataError(f"{name} says that it has {said:,} bytes and has {there:,}; it was cut short")


def _check_whole(name: str, seconds: float, said: float) -> None:
    if seconds < SHORT * said - 0.1:
        raise DataError(f"{name} says that it lasts {said:.2f} s and holds {seconds:.2f} s; it was cut short")


def has_sound(source: Any) -> bool:
    """Whether a film has a sound of its own. Raises `DataError` if it cannot be read."""
    with _opened(source, called(source, "a film")) as file:
        return bool(file.streams.audio)
