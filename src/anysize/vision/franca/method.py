"""The method ``franca``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from anysize.core.errors import AnysizeError
from anysize.core.sizes.size import Size
from anysize.core.verbs.method import Trained


@dataclass(frozen=True)
class Franca(Trained):
    """
    Trains an image encoder without labels whose every prefix clusters pictures, coarse when short, fine when long.

    A student sees crops, some with patches hidden, and tells what cluster a slowly moving teacher puts the whole in; a
    head for each size reads that prefix alone. Any vision transformer or convolutional network, pretrained or not.
    """

    name: ClassVar[str] = "franca"
    runs: ClassVar[str] = "anysize.vision.franca.fit:fit"
    axes: ClassVar[tuple[str, ...]] = ("dims",)
    paper: ClassVar[str] = "Venkataramanan, Pariza et al. 2025, arXiv 2507.14137"
    learns_from: ClassVar[str] = "pictures, without labels"
    needs: ClassVar[tuple[str, ...]] = ("image",)
    extra: ClassVar[str | None] = "vision"
    example: ClassVar[str] = "timm:vit_tiny_patch16_224 --from-scratch"
    positive: ClassVar[tuple[str, ...]] = (
        *Trained.positive, "prototypes", "hidden", "bottleneck", "student_temp", "pixels",
    )  # fmt: skip

    model: str | None = None
    """The model to train: timm:NAME, torchvision:NAME, a folder or hub name of transformers, or a saved image encoder.
    Numbers may follow, as in timm:vit_tiny_patch16_224:img_size=32,patch_size=4,depth=6."""
    from_scratch: bool = False
    """Begin with fresh weights, and not with those of the model."""
    dims: tuple[int, ...] | None = None
    """Sizes to train, increasing. Default: the width and its half, quarter, eighth and sixteenth."""
    nesting: Literal["prefix", "projection"] = "prefix"
    """What a size's head reads: that prefix, as in the paper; or all, through a map of its own, as in its code, which
    asks nothing of prefixes."""
    prototypes: int | None = None
    """Clusters of the largest size, others in proportion. Default: as many as a batch and its queue have vectors."""
    queue: int = 0
    """Vectors of earlier batches that clusters are balanced over too: for small batches."""
    hidden: int = 2048
    """Width of the heads' hidden layers."""
    heads: Literal["proportional", "alike"] = "proportional"
    """Hidden layers of smaller sizes: narrower as their size is, not below the bottleneck, which makes a step cheaper;
    or as wide as the largest's, as in the paper."""
    bottleneck: int = 384
    """Width of what prototypes read."""
    local_crops: int = 8
    """Small crops of each picture, beside two large ones."""
    global_scale: tuple[float, ...] = (0.32, 1.0)
    """Least and largest share of a picture's area that a large crop shows."""
    local_scale: tuple[float, ...] = (0.05, 0.32)
    """The same of small crops."""
    pixels: int | None = None
    """Side of the square that pictures are kept in. Default: a quarter more than the model sees."""
    color: float = 1.0
    """How strongly colours are changed, and how often a view is blurred or solarised: 0 leaves all as it is."""
    masks: Literal["cyclic", "block", "none"] = "cyclic"
    """Patches to hide: around a block that is rolled around the picture (the paper), that is not, or none."""
    mask_ratio: tuple[float, ...] = (0.1, 0.65)
    """Least and largest share of patches that are hidden, in half of the large crops."""
    patch_weight: float = 1.0
    """Weight of the loss at hidden patches."""
    koleo: float = 0.1
    """Weight of the loss that spreads vectors."""
    student_temp: float = 0.1
    """Temperature of the student's clusters."""
    teacher_temp: tuple[float, ...] = (0.04, 0.07)
    """Temperature of the teacher's, at first and after three tenths of the steps."""
    momentum: float = 0.994
    """Of the teacher at first; it rises to 1."""
    epochs: float = 100
    """Passes over the pictures."""
    batch_size: int = 64
    """Pictures a step, on each device."""
    learning_rate: float = 5e-4
    """Peak learning rate, warmed up for a tenth of the steps and decayed along a cosine."""
    weight_decay: float = 0.04
    """Decoupled weight decay."""
    bf16: bool = False
    """Run the networks in bfloat16."""
    strict: bool = False
    """Refuse broken pictures, in place of leaving them out with a count."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("global_scale", "local_scale", "mask_ratio", "teacher_temp"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise AnysizeError(
                    f"{name.replace('_', '-')} is two shares, 0 < low <= high <= 1; got {low} and {high}"
                )
        if not 0 <= self.momentum <= 1:
            raise AnysizeError(f"momentum is from 0 to 1; got {self.momentum}")
        for name in ("queue", "local_crops", "koleo", "patch_weight", "color"):
            if getattr(self, name) < 0:
                raise AnysizeError(f"{name.replace('_', '-')} is at least 0; got {getattr(self, name)}")

    def single(self, size: Size) -> Franca:
        """The same training with one head, for one size alone."""
        return replace(self, dims=(size.dims,))
