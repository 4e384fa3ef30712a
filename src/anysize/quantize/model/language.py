"""A language model at any width: `Quantized` with the loss of the next token, which is what it is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from anysize.backbones.generating import Generating
from anysize.core.losses.tokens import next_token_loss
from anysize.quantize.model.model import Quantized

if TYPE_CHECKING:
    from anysize.backbones.causal import CausalLM


class QuantizedLM(Generating, Quantized):
    """Gives the logits of every next token with codes for weights: ``at(bits=4)(texts)``, and ``loss(windows)``."""

    kind = "quantized-lm"
    reads = ("text",)
    gives = "next tokens"
    evaluators = ("next-token",)
    inner: CausalLM

    @property
    def tokenizer(self) -> Any:
        """Of the model within."""
        return self.inner.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a window."""
        return self.inner.max_length

    def generate(self, items: Sequence[str], **options: Any) -> list[str]:
        """What it goes on with after each text, at this view's width; options as for `CausalLM.generate`."""
        with self.running() as view:
            found: list[str] = view.generate(items, **options)
        return found

    @torch.no_grad()
    def loss(self, windows: torch.Tensor, *, batch_size: int = 16) -> float:
        """Mean cross-entropy in nats of every next token of windows (n, tokens + 1) at this view's size."""
        total = 0.0
        for part in windows.split(batch_size):
            total += float(next_token_loss(self(part[:, :-1]), part, reduction="sum"))
        return total / max(windows[:, 1:].numel(), 1)
