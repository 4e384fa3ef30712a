"""Scales: how many frames of sound and of lips make one token; and the tasks that have them (Omni-AVSR)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, Self

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

TASKS = {"asr": ("audio",), "vsr": ("video",), "avsr": ("audio", "video")}
"""A task -> what it is given: recognition of speech that is heard, seen, or both."""
PROMPTS = {
    "asr": "Transcribe speech to text.",
    "vsr": "Transcribe video to text.",
    "avsr": "Transcribe speech and video to text.",
}


class Scale(NamedTuple):
    """Rates, frames to a token: of what is heard and of what is seen; None for what a task is not given."""

    audio: int | None = None
    video: int | None = None

    @classmethod
    def of(cls, size: Size, task: str) -> Self:
        """That of a task at a size. Raises `SizeError` for a share that is not one of a whole number of frames."""
        return cls(**{name: rate_of(name, size[name]) for name in TASKS[task]})

    @property
    def task(self) -> str:
        """The task that has it."""
        return next(task for task, given in TASKS.items() if given == self.given)

    @property
    def given(self) -> tuple[str, ...]:
        """What it has rates for: audio, video, or both."""
        return tuple(name for name, rate in zip(self._fields, self, strict=True) if rate is not None)

    @property
    def rates(self) -> dict[str, int]:
        """What it has rates for -> the rate."""
        return {name: rate for name, rate in zip(self._fields, self, strict=True) if rate is not None}

    @property
    def name(self) -> str:
        """``audio16-video5``."""
        return "-".join(f"{name}{rate}" for name, rate in self.rates.items())

    @property
    def least(self) -> Size:
        """The smallest size that has it."""
        return Size({name: Fraction(1, rate) for name, rate in self.rates.items()})


def rate_of(axis: str, share: Fraction) -> int:
    """Frames to a token, of the share of frames that is kept. Raises `SizeError` unless that is a whole number."""
    if share.numerator != 1:
        raise SizeError(f"{axis}={share} keeps no whole number of frames a token; expected 1/4, 1/16 or the like")
    return int(share.denominator)


def nested(*, open: bool = False, **rates: Sequence[int] | None) -> Nesting:
    """
    The sizes of rates, each list increasing: ``audio=(4, 16)`` are the shares 1/16 and 1/4. None leaves an axis out.

    Where it is `open`, other rates run too, untrained, that are at least the smallest of these. Raises `SizeError` if a
    list is not increasing, holds a rate below 1, or there is none.
    """
    axes: dict[str, Any] = {}
    for axis, given in rates.items():
        if given is None:
            continue
        if not given or min(given) < 1 or any(more <= less for less, more in itertools.pairwise(given)):
            raise SizeError(f"{axis}-rates are frames to a token, increasing and at least 1, such as 4,16; got {given}")
        axes[axis] = tuple(Fraction(1, rate) for rate in reversed(given))
    if not axes:
        raise SizeError("name the rates with --audio-rates, --video-rates or both, for example 4,16")
    return Nesting(open=tuple(axes) if open else (), **axes)


def scales_of(sizes: Iterable[Size], task: str) -> list[Scale]:
    """The scales of a task at these sizes, each once: speech that is heard alone has one for every rate of sound."""
    return list(dict.fromkeys(Scale.of(size, task) for size in sizes))


def checked_tasks(tasks: Sequence[str], axes: Sequence[str]) -> tuple[str, ...]:
    """`tasks`, or `AnysizeError` if one is unknown, comes twice, or needs an axis that there is not."""
    for task in tasks:
        if task not in TASKS or not set(TASKS[task]) <= set(axes):
            needs = f" needs rates of {' and '.join(TASKS[task])}" if task in TASKS else " is none"
            raise AnysizeError(f"the task {task}{needs}; expected some of {', '.join(TASKS)}")
    if not tasks or len(set(tasks)) < len(tasks):
        raise AnysizeError(f"tasks are named once each, such as avsr,asr; got {', '.join(tasks) or 'none'}")
    return tuple(tasks)
