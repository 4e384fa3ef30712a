"""The method ``rasa``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from anysize.core.verbs.method import Method


@dataclass(frozen=True)
class TakePositionOut(Method):
    """
    Takes out of patch features what says where a patch lies, so that clusters of patches follow things, not places.

    Planes of position are found one after the other on pictures without labels, and become one matrix behind the model.
    The vector of a whole picture stays as it is.
    """

    name: ClassVar[str] = "rasa"
    runs: ClassVar[str] = "anysize.vision.rasa.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("dims",)
    paper: ClassVar[str] = "Venkataramanan, Pariza et al. 2025, arXiv 2507.14137"
    learns_from: ClassVar[str] = "pictures, best a few hundred of the kind that the model will see"
    needs: ClassVar[tuple[str, ...]] = ("image",)
    extra: ClassVar[str | None] = "vision"
    example: ClassVar[str] = "timm:vit_small_patch14_dinov2"
    positive: ClassVar[tuple[str, ...]] = (*Method.positive, "planes", "pictures", "layers")

    model: str | None = None
    """The model to start from: timm:NAME, torchvision:NAME, a folder or hub name of transformers, or a saved image
    encoder."""
    layers: int | None = None
    """Of a model of transformers: keep its first so many blocks, whose features often say more of things."""
    planes: int = 8
    """With --solver ridge or sgd: the most planes of position to take out, two directions each."""
    solver: Literal["erase", "ridge", "sgd"] = "erase"
    """How a plane is found: by cross-covariance (erase: one plane is all), by ridge regression, or by the official head
    (sgd)."""
    stop: float = 0.02
    """Take out no more once a probe explains less than this share of position on pictures left out."""
    official: bool = False
    """Let later planes put back what earlier ones took, as the released code does."""
    epochs: int = 5
    """With --solver sgd: passes for each plane."""
    learning_rate: float = 2e-4
    """With --solver sgd: of AdamW."""
    batch_size: int = 128
    """With --solver sgd: pictures of a step."""
    pictures: int = 1000
    """The most pictures to learn from, evenly spread over all."""
    strict: bool = False
    """Refuse broken pictures, in place of leaving them out with a count."""
    seed: int = 0
    """Seed of everything random."""
