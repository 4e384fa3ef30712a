"""The method ``stages``: its fields are its options, and this file needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import anysize as az


@dataclass(frozen=True)
class Stages(az.Method):
    """
    Learns codebooks of which each codes what those before it left over.

    The first few stages are a quantizer of their own: coarser, and a byte shorter for each stage that is left out.
    """

    name: ClassVar[str] = "stages"
    runs: ClassVar[str] = "anysize_stages.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("stages",)
    paper: ClassVar[str] = "Juang and Gray 1982, Multiple stage vector quantization for speech coding"
    learns_from: ClassVar[str] = "vectors"

    stages: tuple[int, ...] = (1, 2, 4)
    """Sizes to train, increasing: how many stages are read."""
    entries: int = 256
    """Vectors in a codebook, from 2 to 256: a stage is a byte of an item."""
    epochs: int = 10
    """Passes over the data."""
    batch_size: int = 256
    """Rows per step."""
    learning_rate: float = 0.01
    """Of Adam, in units of the spread of the data."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.entries <= 256:
            raise az.AnysizeError(f"entries must be from 2 to 256; got {self.entries}")

    def single(self, size: az.Size) -> Stages:
        """The fixed-size twin: trained for one size alone."""
        return replace(self, stages=(size["stages"],))
