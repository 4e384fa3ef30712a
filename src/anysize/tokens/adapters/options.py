"""The options of adapters, which methods of speech and of pictures have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from anysize.core.errors import AnysizeError


@dataclass(frozen=True)
class LowRank:
    """Of adapters of low rank (Llama-MTSK)."""

    rank: int = 16
    """Rank of the adapters: the true one (the authors' is the divisor of the width)."""
    alpha: float = 32.0
    """What an adapter adds is multiplied by alpha / rank."""
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """The language model's layers that have adapters."""

    def low_rank(self, strategy: str) -> dict[str, Any]:
        """As a model keeps them."""
        return {
            "kind": "lora", "strategy": strategy, "rank": self.rank, "alpha": self.alpha, "targets": list(self.targets),
        }  # fmt: skip


@dataclass(frozen=True)
class Routed:
    """Of experts (MoME)."""

    experts: int = 8
    """Experts among which the router chooses; 0: none, only those that are always on."""
    shared_experts: int = 1
    """Experts that are always on."""
    top_k: int = 2
    """Of the routed experts, how many a token runs through."""
    bottleneck: int = 12
    """Inner width of an expert."""
    placement: Literal["attn", "mlp", "layer"] = "attn"
    """What experts stand beside: the attention of a block, its MLP, or the whole block."""
    router: Literal["shared", "per-scale"] = "shared"
    """One router for all sizes, or one each."""
    normalize_gates: bool = False
    """Divide the gates of the chosen experts by their sum (as Mixtral does)."""
    balance: float = 0.01
    """Weight of the term that keeps experts used alike, at each size by itself."""

    def check_experts(self) -> None:
        """Raise `AnysizeError` for experts that cannot be."""
        if min(self.experts, self.shared_experts) < 0 or self.experts + self.shared_experts < 1:
            raise AnysizeError(f"give experts or shared-experts; got {self.experts} and {self.shared_experts}")
        if self.experts and self.top_k > self.experts:
            raise AnysizeError(f"top-k chooses among {self.experts} experts; got {self.top_k}")
        if self.balance < 0:
            raise AnysizeError(f"balance is at least 0; got {self.balance}")

    def mixture(self) -> dict[str, Any]:
        """As a model keeps them."""
        return {
            "kind": "mome", "experts": self.experts, "shared_experts": self.shared_experts, "top_k": self.top_k,
            "bottleneck": self.bottleneck, "placement": self.placement, "router": self.router,
            "normalize": self.normalize_gates, "balance": self.balance,
        }  # fmt: skip
