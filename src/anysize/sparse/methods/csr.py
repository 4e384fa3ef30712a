"""CSR, Contrastive Sparse Representation (Wen et al. 2025, "Beyond Matryoshka", arXiv 2503.01776, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from anysize.core.errors import AnysizeError
from anysize.sparse.methods.options import SparseOptions

if TYPE_CHECKING:
    from anysize.core.sizes.nesting import Nesting
    from anysize.sparse.autoencoder.activations import Activation


@dataclass(frozen=True)
class CSR(SparseOptions):
    """
    CSR: sparse codes of frozen embeddings to search with, trained to rebuild them and to tell items apart.

    ``L_k + (1/8) L_4k + beta L_dead + gamma L_contrast`` over k of --active; one number k stands for k and 4k. Tied
    weights. One model serves every trained k.
    """

    name: ClassVar[str] = "csr"
    paper: ClassVar[str] = "Wen et al. 2025, arXiv 2503.01776"
    positive: ClassVar[tuple[str, ...]] = (*SparseOptions.positive, "temperature")
    axes: ClassVar[tuple[str, ...]] = ("active",)

    beta: float = 1 / 32
    """Weight of the dead-latent loss (in place of --aux)."""
    gamma: float = 0.1
    """Weight of the contrastive loss."""
    multi_topk_weight: float = 1 / 8
    """Weight of every level beyond the sparsest."""
    positives: Literal["self", "pair", "label"] = "self"
    """What is pulled together: an item and itself (which only pushes others apart), pairs, or items of one label."""
    temperature: float = 0.2
    """Of the softmax over cosine similarities of codes."""
    dead_after: int = 30
    """Steps without an activation after which a latent is dead."""
    tied: bool = True
    """One matrix encodes and decodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta < 0 or self.gamma < 0 or self.multi_topk_weight < 0:
            raise AnysizeError("beta, gamma and multi-topk-weight must be at least 0")

    def activation(self) -> Activation:
        """TopK at every level."""
        return "topk"

    def nesting(self, width: int) -> Nesting:
        """A single k stands for k and 4k."""
        if self.active is not None and len(self.active) == 1 and self.multi_topk_weight:
            return self._twofold().nesting(width)
        return super().nesting(width)

    def _twofold(self) -> CSR:
        from dataclasses import replace

        assert self.active is not None
        return replace(self, active=(self.active[0], 4 * self.active[0]))

    def default_active(self, latents: int) -> tuple[int, ...]:
        """32 and 128."""
        return (min(32, latents // 4), min(128, latents))

    def level_weights(self, nesting: Nesting) -> tuple[float, ...]:
        """1 for the sparsest level, `multi_topk_weight` for the others."""
        if self.weights is not None:
            return super().level_weights(nesting)
        sparsest = nesting.values("active")[0]
        return tuple(1.0 if size["active"] == sparsest else self.multi_topk_weight for size in nesting)

    def more(self) -> dict[str, object]:
        """The loss is a plain sum, as in the paper; the optimiser's epsilon is the authors'."""
        return {
            "reduction": "sum",
            "aux": self.beta,
            "contrast": self.gamma,
            "temperature": self.temperature,
            "positives": self.positives,
            "tied": self.tied,
            "unit_norm": not self.tied,
            "eps": 6.25e-10,
        }
