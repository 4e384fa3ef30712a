"""The methods that nest nothing unless told to: TopK, BatchTopK, ReLU and JumpReLU, the rivals of those that do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from anysize.core.errors import AnysizeError
from anysize.sparse.methods.options import SparseOptions

if TYPE_CHECKING:
    from anysize.sparse.autoencoder.activations import Activation


@dataclass(frozen=True)
class TopK(SparseOptions):
    """A plain TopK autoencoder: a rival. It trains its largest size alone; smaller --latents are offered untrained."""

    name: ClassVar[str] = "topk"
    paper: ClassVar[str] = "Gao et al. 2024, arXiv 2406.04093"
    trains_levels: ClassVar[bool] = False

    def activation(self) -> Activation:
        """Each row's k largest."""
        return "topk"


@dataclass(frozen=True)
class BatchTopK(TopK):
    """A plain BatchTopK autoencoder: a rival. It trains its largest size alone; smaller ones are offered untrained."""

    name: ClassVar[str] = "batchtopk"
    paper: ClassVar[str] = "Bussmann et al. 2024, arXiv 2412.06410"

    def activation(self) -> Activation:
        """The batch's k n largest."""
        return "batchtopk"


@dataclass(frozen=True)
class ReLU(SparseOptions):
    """A ReLU autoencoder with an L1 penalty: a rival. It trains its largest size alone."""

    name: ClassVar[str] = "relu"
    paper: ClassVar[str] = "Cunningham et al. 2023, arXiv 2309.08600"
    anneals: ClassVar[bool] = False
    trains_levels: ClassVar[bool] = False

    l1: float = 0.01
    """Weight of the mean sum of a code's activations."""

    def activation(self) -> Activation:
        """All positive ones."""
        return "relu"

    def more(self) -> dict[str, object]:
        """The penalty."""
        return {"l1": self.l1}


@dataclass(frozen=True)
class JumpReLU(SparseOptions):
    """
    A JumpReLU autoencoder: every latent learns the threshold that its activation must exceed.

    L0 is held at --active, or traded against the error by --l0. Several --latents nest, as in a Matryoshka SAE.
    """

    name: ClassVar[str] = "jumprelu"
    paper: ClassVar[str] = "Rajamanoharan et al. 2024, arXiv 2407.14435"
    positive: ClassVar[tuple[str, ...]] = (*SparseOptions.positive, "bandwidth", "threshold", "l0_target", "l0")
    anneals: ClassVar[bool] = False

    l0: float | None = None
    """Weight of the mean number of active latents, in place of --active."""
    l0_target: float = 1.0
    """Weight of (L0 / active - 1)^2, where --active is the target."""
    l0_rise: float = 0.1
    """Share of the steps over which the weight of L0 rises from zero."""
    bandwidth: float = 0.05
    """Width of the window around a threshold in which pre-activations move it (inputs have a mean square of one)."""
    threshold: float = 0.05
    """The threshold that all latents start with; with a target at least the one at which L0 is met at the start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.l0 is not None and self.active is not None:
            raise AnysizeError("l0 weighs the number of active latents and active fixes it; give one of the two")
        if not 0 <= self.l0_rise <= 1:
            raise AnysizeError(f"l0-rise is a share of the steps from 0 to 1; got {self.l0_rise}")

    def activation(self) -> Activation:
        """One threshold for each latent."""
        return "jumprelu"

    def default_active(self, latents: int) -> tuple[int, ...]:
        """32, or none in particular with --l0."""
        return () if self.l0 is not None else (min(32, latents),)

    def _default_latents(self, width: int) -> tuple[int, ...]:
        return super()._default_latents(width)[-1:]

    def more(self) -> dict[str, object]:
        """The penalty and how thresholds learn."""
        weight = self.l0_target if self.l0 is None else self.l0
        window = {"bandwidth": self.bandwidth, "threshold": self.threshold}
        return {"l0": weight, "l0_rise": self.l0_rise, **window}
