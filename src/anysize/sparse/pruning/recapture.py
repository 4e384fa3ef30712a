"""
The loss of a language model whose activations at one site are replaced by what an autoencoder rebuilds of them.

What progressive coding calls recaptured loss (arXiv 2505.00190, section 4), of which
`anysize.sparse.pruning.granularity.recaptured` makes a share. Special tokens, on which no autoencoder is trained, keep
their own activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from anysize.backbones.huggingface import opening, pretrained
from anysize.backbones.site import named_module, padded
from anysize.core.errors import DataError
from anysize.sparse.pruning.granularity import Replace

_BATCH = 16


class LanguageModelLoss:
    """
    Mean cross entropy of the next token of some texts, in nats, while activations at `site` pass through a function.

    Raises `AnysizeError` if the model does not load as a causal language model or has no such module, `DataError` if
    the texts hold no two tokens.
    """

    def __init__(self, model: str, site: str, texts: Sequence[str], max_length: int = 256) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with opening("causal language model", model):
            self._tokenizer: Any = pretrained(AutoTokenizer, model)
            self._model: Any = pretrained(AutoModelForCausalLM, model).eval()
        self._site = named_module(self._model, site)[1]
        self._batches = [
            self._tokens(texts[start : start + _BATCH], max_length) for start in range(0, len(texts), _BATCH)
        ]
        if not any(bool((batch["attention_mask"].sum(1) > 1).any()) for batch in self._batches):
            raise DataError("the texts hold no two tokens, so there is no next one to predict")

    @torch.no_grad()
    def __call__(self, replace: Replace) -> float:
        """The loss while `replace` turns activations (rows, d) into others of that shape."""
        total = count = 0.0
        for batch in self._batches:
            special, inputs = batch["special"], {key: batch[key] for key in ("input_ids", "attention_mask")}

            def hook(_module: Any, _inputs: Any, output: Any, keep: torch.Tensor = special) -> Any:
                hidden = output[0] if isinstance(output, tuple) else output  # (b, t, d)
                changed = hidden.clone()
                changed[~keep] = replace(hidden[~keep].float()).to(hidden.dtype)
                return (changed, *output[1:]) if isinstance(output, tuple) else changed

            handle = self._site.register_forward_hook(hook)
            try:
                logits = self._model(**inputs).logits[:, :-1]
            finally:
                handle.remove()
            kept = inputs["attention_mask"][:, 1:].bool()
            losses = torch.nn.functional.cross_entropy(logits[kept], inputs["input_ids"][:, 1:][kept], reduction="sum")
            total, count = total + float(losses), count + float(kept.sum())
        return total / count

    def _tokens(self, texts: Sequence[str], max_length: int) -> dict[str, torch.Tensor]:
        found = padded(self._tokenizer, texts, max_length)
        special = found["special_tokens_mask"].bool()
        return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"], "special": special}
