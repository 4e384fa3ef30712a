"""
Mixture of Matryoshka Experts (MoME, arXiv 2510.04136): small experts beside frozen blocks, under one router.

``MoME(h) = sum over shared n of E_n(h) + sum over routed n among the k best of p_n E_n(h)``, with ``E_n(h) = U_n
GELU(D_n h)`` and ``p = softmax(W h)`` in float32. All experts are one dense bottleneck whose values are multiplied by
the gates: the same numbers as running each by itself, and at such widths faster. No code was published; what the paper
leaves open is chosen here: no biases, U = 0 at first, gates as they are (`normalize` divides them by their sum), the
input of a block after its norm, and for whole layers a norm of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from anysize.backbones.blocks import find_stack
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.model.guard import Guard
from anysize.core.sizes.size import Size
from anysize.tokens.adapters.scale import FILL, Scaled

Placement = Literal["attn", "mlp", "layer"]
PARTS = {"attn": ("self_attn", "attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn"), "layer": ("",)}
"""What transformers' models call the part of a block that experts stand beside."""
SHARED = "shared"


@dataclass
class Pass:
    """One pass at a scale: which places hold what, and what the routers did there."""

    scale: Scaled
    kinds: torch.Tensor | None
    balance: list[torch.Tensor] = field(default_factory=list)
    """Of each layer, N sum_n f_n P_n: 1 where experts are used alike."""
    chosen: list[torch.Tensor] = field(default_factory=list)
    """Of each layer, (n, places, k) experts, where routing is recorded."""
    entropy: list[torch.Tensor] = field(default_factory=list)
    """Of each layer, (n, places), in nats."""


class MoMELayer(nn.Module):
    """The experts beside one block, (..., width) -> (..., width); `routers` by name: one shared, or one a scale."""

    def __init__(self, width: int, routers: Sequence[str], spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.routed, self.k, self.normalize = spec["experts"], spec["top_k"], spec["normalize"]
        self.bottleneck, count = spec["bottleneck"], spec["experts"] + spec["shared_experts"]
        self.down = nn.Parameter(torch.empty(count * self.bottleneck, width))
        self.up = nn.Parameter(torch.zeros(width, count * self.bottleneck))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)
        self.routers = nn.ParameterDict({name: 0.02 * torch.randn(self.routed, width) for name in routers})
        self.norm = nn.RMSNorm(width) if spec["placement"] == "layer" else nn.Identity()
        self.always = spec["shared_experts"]

    def forward(self, h: torch.Tensor, now: Pass, *, balance: bool, record: bool) -> torch.Tensor:
        """What is added at each place; what the router did is put down in `now`."""
        h = self.norm(h)
        inner = functional.gelu(functional.linear(h, self.down.to(h.dtype)))
        if self.routed:
            gates = self._gates(h, now, balance=balance, record=record)
            ones = gates.new_ones(*gates.shape[:-1], self.always)
            each = torch.cat([gates, ones], -1).repeat_interleave(self.bottleneck, -1)
            inner = inner * each.to(inner.dtype)
        return functional.linear(inner, self.up.to(h.dtype))

    def _gates(self, h: torch.Tensor, now: Pass, *, balance: bool, record: bool) -> torch.Tensor:
        name = SHARED if SHARED in self.routers else now.scale.name
        if name not in self.routers:
            raise SizeError(f"no router was trained for {name}; there are {', '.join(self.routers)}")
        with torch.autocast(h.device.type, enabled=False):
            likely = functional.linear(h.float(), self.routers[name].float()).softmax(-1)
        best = likely.topk(self.k, -1)
        kept = torch.zeros_like(likely).scatter(-1, best.indices, 1.0)
        if record:
            now.chosen.append(best.indices)
            now.entropy.append(-(likely * likely.clamp(min=1e-9).log()).sum(-1))
        if balance and now.kinds is not None:
            there = (now.kinds != FILL).flatten()
            share = kept.flatten(0, -2)[there].mean(0) / self.k
            now.balance.append(self.routed * (share * likely.flatten(0, -2)[there].mean(0)).sum())
        gates = likely * kept
        return gates / gates.sum(-1, keepdim=True) if self.normalize else gates


class Experts(nn.Module):
    """
    Experts beside every block of a language model, which itself stays as it is.

    Each block, or its attention or its MLP, gets a forward hook that adds what its experts give. Raises `AnysizeError`
    for a model whose blocks have no such part.
    """

    inside: ClassVar[bool] = False
    layers: Any
    """A `MoMELayer` for each block."""

    def __init__(self, lm: Any, scales: Sequence[Scaled], spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.spec, self.scales = dict(spec), {scale.name: scale for scale in scales}
        names = ([SHARED] if spec["router"] == "shared" else list(self.scales)) if spec["experts"] else []
        blocks = find_stack(lm).blocks(lm)
        width = int(lm.config.hidden_size)
        self.layers = nn.ModuleList([MoMELayer(width, names, spec) for _ in blocks])
        self.recording = False
        """Whether passes keep which experts each place chose."""
        self.now: Pass | None = None
        """The pass that runs."""
        self.ran: Pass | None = None
        """The last that did."""
        self._guard = Guard()
        for layer, block in zip(self.layers, blocks, strict=True):
            _part(block, spec["placement"]).register_forward_hook(self._beside(layer), with_kwargs=True)

    def _beside(self, layer: nn.Module) -> Any:
        def add(_: Any, given: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
            if self.now is None:
                return output
            h = given[0] if given else options["hidden_states"]
            fits = self.now.kinds is not None and self.now.kinds.shape == h.shape[:2]
            added = layer(h, self.now, balance=self.training and fits, record=self.recording and fits)
            return (output[0] + added, *output[1:]) if isinstance(output, tuple) else output + added

        return add

    @contextlib.contextmanager
    def at(self, scale: Scaled, kinds: torch.Tensor | None = None) -> Iterator[None]:
        """
        Within, the language model runs with its experts at this scale, for one thread at a time.

        `kinds` says what each place holds.
        """
        with self._guard:
            self.now = Pass(scale, kinds)
            try:
                yield
            finally:
                self.ran, self.now = self.now, None

    def losses(self) -> dict[str, torch.Tensor]:
        """The balance of the last pass, the mean over layers: each scale by itself, so that each counts alike."""
        balance = [] if self.ran is None else self.ran.balance
        return {"balance": self.spec["balance"] * torch.stack(balance).mean()} if balance else {}

    def active(self, scale: Scaled) -> int:
        """Weights that count at a place, if experts that are not chosen were left out; all are held in memory."""
        width, b = self.layers[0].down.shape[1], self.spec["bottleneck"]
        chosen = (self.spec["top_k"] if self.spec["experts"] else 0) + self.spec["shared_experts"]
        return len(self.layers) * (2 * chosen * b * width + self.spec["experts"] * width)

    def weights(self) -> dict[str, nn.Parameter]:
        """By their names here."""
        return dict(self.named_parameters())

    def owned(self) -> dict[str, Size]:
        """Names of weights -> the smallest size that needs them, where not all do: routers of one scale."""
        return {
            f"layers.{place}.routers.{name}": self.scales[name].least
            for place, layer in enumerate(self.layers)
            for name in layer.routers
            if name != SHARED
        }


def _part(block: nn.Module, placement: Placement) -> nn.Module:
    for name in PARTS[placement]:
        if not name or hasattr(block, name):
            return block.get_submodule(name)
    raise AnysizeError(f"a block of the language model has no part called {' or '.join(PARTS[placement])}")
