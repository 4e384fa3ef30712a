"""What a module inside a Hugging Face model puts out, token by token: the usual food of a sparse autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anysize.backbones.huggingface import opening, pretrained
from anysize.backbones.packaged import packaged
from anysize.core.errors import AnysizeError
from anysize.core.training.processes import device_of

GROUP = 16
"""Texts that the model reads at a time."""
_LONG = 10.0  # rows so many times longer than the median are attention sinks, which would drown all others


class Site:
    """
    A named module of a model, for example ``layer.3``: the end of its full name is enough if one module has it.

    Raises `AnysizeError` if the model does not load, or no module or several have that name.
    """

    def __init__(self, model: str, site: str, max_length: int = 256, device: str | None = None) -> None:
        self.device = device_of(device)
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise AnysizeError("reading a model needs the 'text' extra: pip install 'anysize[text]'") from None
        path = packaged(model) or model
        with opening("model", path):
            self.tokenizer: Any = pretrained(AutoTokenizer, path)
            self.model: Any = pretrained(AutoModel, path).eval().to(self.device)
        self.max_length = max_length
        self.name, self.module = named_module(self.model, site)

    @torch.no_grad()
    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """
        The module's output at every token of the texts, (tokens, d) float32.

        Special tokens (the first one above all) are left out, and rows of more than ten times the median norm of the
        texts that are read together; so what a group of texts gives does not depend on others.
        """
        seen: list[torch.Tensor] = []
        handle = self.module.register_forward_hook(lambda _module, _inputs, output: seen.append(_tensor(output)))
        found = []
        try:
            for start in range(0, len(texts), GROUP):
                inputs = padded(self.tokenizer, texts[start : start + GROUP], self.max_length)
                inputs = {name: value.to(self.device) for name, value in inputs.items()}
                special = inputs.pop("special_tokens_mask").bool()
                self.model(**inputs)
                hidden = seen.pop()  # (b, t, d)
                seen.clear()
                rows = hidden[inputs["attention_mask"].bool() & ~special].float()
                norms = rows.norm(dim=1)
                found.append((rows[norms <= _LONG * norms.median()] if len(rows) else rows).cpu())
        finally:
            handle.remove()
        return torch.cat(found).numpy()


def padded(tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, torch.Tensor]:
    """
    Token ids (b, t) of texts, their masks, and which tokens are special, padding among them.

    Filled here, on the right, since the tokenizer of a language model may have no token for it.
    """
    rows = tokenizer(list(texts), truncation=True, max_length=max_length, return_special_tokens_mask=True)
    fill = {"input_ids": tokenizer.pad_token_id or 0, "special_tokens_mask": 1}
    return {
        key: torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row, dtype=torch.long) for row in rows[key]], True, fill.get(key, 0)
        )
        for key in rows
    }


def _tensor(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def named_module(model: torch.nn.Module, site: str) -> tuple[str, torch.nn.Module]:
    """The module of that full name, or whose name alone ends so. Raises `AnysizeError` for none or several."""
    named = {name: module for name, module in model.named_modules() if name}
    if site in named:
        return site, named[site]
    found = [name for name in named if name.endswith(f".{site}")]
    if len(found) != 1:
        some = ", ".join([name for name in named if name.count(".") <= 2][:12])
        what = f"{len(found)} modules end in" if found else "no module is called"
        raise AnysizeError(f"{what} {site!r}; name one of the model's modules, for example {some}")
    return found[0], named[found[0]]
