"""One model under check: what the battery is told of it, and how it compares what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anysize.core.model.contract import NestedModel
from anysize.core.sizes.size import Size


@dataclass(frozen=True)
class Case:
    """A model under check, an example to run it on, and what its author says it should give."""

    model: NestedModel
    example: Any
    plain: Callable[[Any], torch.Tensor] | None
    shape: Callable[[Size], tuple[int, ...]] | None
    atol: float
    folder: Path
    items: Any
    options: Mapping[str, Any]

    def require(self, kept: bool, sentence: str) -> None:
        """Raise unless `kept`; a plain ``assert`` would be skipped under ``python -O``."""
        if not kept:
            raise AssertionError(f"{type(self.model).__name__}: {sentence}")

    def same(self, one: torch.Tensor, other: torch.Tensor, sentence: str) -> None:
        """Require equal shapes, and values equal up to `atol` of the largest value."""
        self.require(one.shape == other.shape, f"{sentence}: shapes {tuple(one.shape)} and {tuple(other.shape)}")
        if one.numel() == 0:
            return
        allowed = self.atol * max(1.0, float(other.abs().max()))
        apart = float((_wide(one) - _wide(other)).abs().max())
        self.require(apart <= allowed, f"{sentence}: they differ by up to {apart:.2g}")


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
