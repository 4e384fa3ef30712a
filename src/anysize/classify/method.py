"""The method ``mrl-classifier``: MRL and MRL-E heads on frozen features (Kusupati et al. 2022, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from anysize.core.errors import AnysizeError
from anysize.core.verbs.method import Method


@dataclass(frozen=True)
class MRLClassifier(Method):
    """
    Learns a classifier for every size, over vectors or over the embeddings of a saved anysize model.

    Features are read as they are: prefixes of ordinary vectors are as good as their first coordinates happen to be, so
    make the vectors nested first (`fit` with the method mrl), or train `MRLHead` together with the network.
    """

    name: ClassVar[str] = "mrl-classifier"
    axes: ClassVar[tuple[str, ...]] = ("dims",)
    paper: ClassVar[str] = "Kusupati et al. 2022, arXiv 2205.13147"
    learns_from: ClassVar[str] = "labelled vectors, or labelled texts and a model"
    needs: ClassVar[tuple[str, ...]] = ("vector, label", "text, label")
    runs: ClassVar[str] = "anysize.classify.fit:fit"

    model: str | None = None
    """A saved anysize model that embeds texts. Not needed for vectors."""
    dims: tuple[int, ...] | None = None
    """Sizes to train, increasing, for example 8,16,32,64. Default: powers of two from 8, and the width."""
    efficient: bool = False
    """One tied head for all sizes (MRL-E): about half the weights, weaker at the smallest sizes."""
    per_dim_bias: bool = False
    """With --efficient: a bias of its own for each size: wanted where features are not centred (most are not)."""
    epochs: int = 30
    """Passes over the training data."""
    batch_size: int = 256
    """Rows per step."""
    learning_rate: float = 3e-2
    """Peak learning rate, decayed linearly to zero."""
    weight_decay: float = 1e-2
    """Decoupled weight decay."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes (the paper's ImageNet models use 0.1)."""
    reduction: Literal["sum", "mean"] = "sum"
    """Add the losses of the sizes as in the paper, or average them."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise AnysizeError(f"label-smoothing is a share from 0 to below 1; got {self.label_smoothing}")
