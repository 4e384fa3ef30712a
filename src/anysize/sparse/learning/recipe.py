"""What one autoencoder learns by: its loss, its optimiser and its remedies, as one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anysize.core.sizes.nesting import Nesting
from anysize.sparse.autoencoder.activations import Activation


@dataclass(frozen=True)
class Recipe:
    """
    Everything that training one autoencoder needs besides the data. Public implementations differ in most of it.

    The loss is the sum over the sizes of ``nesting`` of weight times mean squared error (over rows and coordinates),
    divided by the sum of the weights if `reduction` is mean, plus the terms below.
    """

    nesting: Nesting
    activation: Activation
    latents: int
    active: float | None
    """Active latents per code: whole for topk, an average for batchtopk, one to reach for jumprelu; None for relu."""
    learning_rate: float
    k_anneal: float = 0.0
    """Share of the steps over which the number of active latents falls to what it shall be (CSRv2; 0: at once)."""
    initial_topk: int = 0
    """Active latents at the first step, at the sparsest level; other levels keep their proportion to it."""
    seed: int = 0
    reduction: Literal["mean", "sum"] = "mean"
    bias_level: bool = False
    """Count a level that uses no latent at all, as the Matryoshka SAE authors' code does."""
    detach: bool = False
    """Let each level teach only the latents that it adds."""
    error: Literal["mse", "nmse"] = "mse"
    """nmse divides each row's error by that row's mean square (MSAE)."""
    sampled: int = 0
    """Draw so many prefixes anew at each step instead of the fixed ones, early ones more often (Nabeshima)."""
    l1: float = 0.0
    """Penalty on activations, for relu."""
    l0: float = 0.0
    """Weight of the number of active latents, or of its distance from `active`, for jumprelu."""
    l0_rise: float = 0.0
    """Share of the steps over which that weight rises from zero."""
    bandwidth: float = 0.05
    """Width of the window around a threshold in which pre-activations move it, for jumprelu."""
    threshold: float = 0.05
    """The threshold that all latents start with, for jumprelu."""
    aux: float = 1 / 32
    """Weight of the dead-latent loss (Gao et al. 2024, appendix A.2)."""
    k_aux: int = 0
    """Dead latents that rebuild each row's error; 0 means half of the input's width."""
    dead_after: int = 100
    """Steps without a single activation after which a latent is dead."""
    tied: bool = False
    """One matrix encodes and decodes (CSR)."""
    unit_norm: bool = True
    """Keep dictionary rows at unit length: the gradient along them is taken off, and they are rescaled."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip: float = 1.0
    """Largest norm of the gradient."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises."""
    decay: float = 0.2
    """Share of the steps, at the end, over which it falls to zero."""
    bf16: bool = False
    """Form the encoder's product in bfloat16; everything else stays in float32."""
    contrast: float = 0.0
    """Weight of the contrastive loss over codes (CSR's gamma)."""
    temperature: float = 0.2
    positives: Literal["self", "pair", "label"] = "self"

    def more_active(self, step: int, steps: int) -> float:
        """How many times as many latents as in the end are active at a step."""
        until = self.k_anneal * steps
        if step >= until:
            return 1.0
        least = self.nesting.values("active")[0] if "active" in self.nesting.axes else self.active
        assert least is not None
        return max(1.0, (self.initial_topk + (least - self.initial_topk) * step / until) / least)

    def levels_now(self, times: float) -> tuple[int, ...]:
        """The levels of the nesting's active latents while so many times as many are active."""
        return tuple(min(round(level * times), self.latents) for level in self.nesting.values("active"))
