"""
Low-rank adapters for scales, by PEFT's own layers (Llama-MTSK, section 3.2): one for all, one for each, or both summed.

A matrix W (out, in) becomes W + alpha / rank * B A, where rank is the true rank: A is (rank, in). The authors' "rank"
is the divisor of the width (32 at width 2048 is rank 64) and their multiplier alpha over that divisor: their rank 32,
alpha 4 at width 2048 is here rank 64, alpha 8.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.model.guard import Guard
from anysize.core.sizes.size import Size
from anysize.tokens.adapters.scale import Scaled

Strategy = Literal["ms", "ss", "mss"]
SHARED = "shared"


class ScaleLoRA:
    """
    Adapters put into a language model in place: untrained ones change nothing, and all of them are float32.

    ``ms``: one that all scales share; ``ss``: one a scale; ``mss``: both, summed. `spec` holds strategy, rank, alpha
    and targets, the names of the linear layers. Raises `AnysizeError` if the model has no layer of these names.
    """

    inside: ClassVar[bool] = True
    """Whether its weights lie in the language model."""

    def __init__(self, lm: nn.Module, scales: Sequence[Scaled], spec: Mapping[str, Any]) -> None:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.strategy: Strategy = spec["strategy"]
        self.scales = {scale.name: scale for scale in scales} if self.strategy != "ms" else {}
        for name in [*([SHARED] if self.strategy != "ss" else []), *self.scales]:
            config = LoraConfig(
                r=spec["rank"], lora_alpha=spec["alpha"], target_modules=list(spec["targets"]), lora_dropout=0.0
            )
            with warnings.catch_warnings():  # that there are several adapters is meant
                warnings.filterwarnings("ignore", module=r"peft\.")
                try:
                    inject_adapter_in_model(config, lm, adapter_name=name)
                except ValueError:
                    raise AnysizeError(
                        f"the language model has no layers called {', '.join(spec['targets'])}; name its own with "
                        "--targets"
                    ) from None
        self.layers = [part for part in lm.modules() if isinstance(part, BaseTunerLayer)]
        self._lm = lm
        self._active: tuple[str, ...] | None = None
        self._guard = Guard()

    def names(self, scale: Scaled) -> tuple[str, ...]:
        """The adapters that run at a scale. Raises `SizeError`, naming those there are, for one that has none."""
        if self.scales and scale.name not in self.scales:
            raise SizeError(f"no adapter was trained for {scale.name}; there are {', '.join(self.scales)}")
        return {"ms": (SHARED,), "ss": (scale.name,), "mss": (SHARED, scale.name)}[self.strategy]

    @contextlib.contextmanager
    def at(self, scale: Scaled, kinds: torch.Tensor | None = None) -> Iterator[None]:
        """Within, the language model runs with the adapters of this scale, for one thread at a time."""
        names = self.names(scale)
        with self._guard:
            if names != self._active:
                for layer in self.layers:
                    layer.set_adapter(list(names))
                # PEFT freezes what it switches off, and the optimiser holds the adapters of all scales.
                for weight in self.weights().values():
                    weight.requires_grad_(True)
                self._active = names
            yield

    def weights(self) -> dict[str, nn.Parameter]:
        """By their names in the language model."""
        return {name: weight for name, weight in self._lm.named_parameters() if ".lora_" in name}

    def active(self, scale: Scaled) -> int:
        """Weights that run at a scale."""
        named = {f".{name}." for name in self.names(scale)}
        return sum(weight.numel() for name, weight in self.weights().items() if any(one in name for one in named))

    def owned(self) -> dict[str, Size]:
        """Names of weights -> the smallest size that needs them, where not all do."""
        return {
            name: scale.least for name in self.weights() for said, scale in self.scales.items() if f".{said}." in name
        }

    def losses(self) -> dict[str, torch.Tensor]:
        """Further terms of the loss: none."""
        return {}
