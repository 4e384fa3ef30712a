"""The teacher: a moving mean of the student, and how its temperature and its momentum go on."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class TeacherTempSchedule:
    """From `start` to `end` along a line of `warmup` steps, and there it stays."""

    start: float = 0.04
    end: float = 0.07
    warmup: int = 37500

    def __call__(self, step: int) -> float:
        """At a step, from 0."""
        share = min(1.0, step / self.warmup) if self.warmup > 0 else 1.0
        return self.start + (self.end - self.start) * share


@dataclass(frozen=True)
class Cosine:
    """From `start` to `end` along half a cosine of `steps` steps: of the momentum, 0.994 to 1."""

    start: float
    end: float
    steps: int

    def __call__(self, step: int) -> float:
        """At a step, from 0; `end` from `steps` on."""
        share = min(1.0, step / max(1, self.steps))
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2


class EMATeacher(nn.Module):
    """A copy of a network without gradients, whose weights follow: ``t = momentum * t + (1 - momentum) * s``."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(student).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> EMATeacher:
        """The teacher is never in training mode: it drops nothing."""
        super().train(mode)
        self.net.eval()
        return self

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Follow the student's weights; what it counts (running means) is taken over. Raises `AnysizeError`."""
        if not 0 <= momentum <= 1:
            raise AnysizeError(f"momentum is from 0 to 1; got {momentum}")
        theirs = dict(student.named_parameters())
        for name, weight in self.net.named_parameters():
            weight.lerp_(theirs[name].detach().to(weight), 1 - momentum)
        counted = dict(student.named_buffers())
        for name, buffer in self.net.named_buffers():
            buffer.copy_(counted[name])

    @torch.no_grad()
    def forward(self, *given: object, **options: object) -> object:
        """What the copy gives."""
        return self.net(*given, **options)
