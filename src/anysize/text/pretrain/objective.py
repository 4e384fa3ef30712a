"""
Starbucks Masked Autoencoding (Zhuang et al. 2024, arXiv 2410.13230): pre-training so that every size carries content.

Each size guesses the words that are masked for the encoder from its own prefix of its own layer's states; and one weak
block guesses those that are masked for the decoder from a text of which 40 % is hidden and the first state of that
size, which must therefore say what the text is about.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from anysize.backbones.blocks import Stack, find_stack, tapped, truncated
from anysize.core.errors import AnysizeError
from anysize.core.losses.nested import told
from anysize.core.sizes.nesting import Nesting
from anysize.text.pretrain.masks import IGNORED
from anysize.text.pretrain.mlm_head import NestedHead


class SMAEObjective(nn.Module):
    """
    ``L = mean over sizes of (MLM + MAE) / 2``; without a decoder, ``L = mean over sizes of MLM``.

    `encoder` is a transformers encoder, `head` its masked-language head, `sizes` a nesting of layers and dims. The
    decoder is a copy of the encoder's first block as it stands now; the embeddings, the head and everything else around
    it are the encoder's own. One size and no decoder is plain masked-language modelling.
    Raises `AnysizeError` if the encoder has no module of embeddings that a block could be put behind.
    """

    def __init__(self, encoder: Any, head: NestedHead, sizes: Nesting, *, decoder: bool = True) -> None:
        super().__init__()
        self.encoder, self.head, self.sizes = encoder, head, sizes
        self.stack = find_stack(encoder)
        self.decoder = copy.deepcopy(self.stack.blocks(encoder)[0]) if decoder else None
        # In a tuple: all but the block is the encoder's own, and is saved once.
        self._shell: tuple[Any, ...] = ()
        if self.decoder is not None:
            self._shell = (_behind_embeddings(encoder, self.decoder, self.stack),)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_labels: torch.Tensor | None = None,
    ) -> dict[str, Any]:
        """The loss of one batch, all arguments (rows, tokens); labels are `IGNORED` where nothing is masked."""
        terms = self.terms(input_ids, attention_mask, labels, decoder_input_ids, decoder_labels)
        by_size = [torch.stack(list(one.values())).mean() for one in terms]
        return {"loss": torch.stack(by_size).mean(), **told(self, dict(zip(self.sizes, by_size, strict=True)))}

    def terms(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_labels: torch.Tensor | None = None,
        *,
        shuffled: bool = False,
    ) -> list[dict[str, torch.Tensor]]:
        """
        ``mlm`` and, with a decoder, ``mae`` of each size: mean cross-entropies, from one pass through the encoder.

        `shuffled` gives each text's decoder its neighbour's first state, to see how much of a text that state tells.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        states = tapped(self.encoder, inputs, self.sizes.values("layers"), self.stack)
        found = []
        for size in self.sizes:
            state = states[size.layers][:, :, : size.dims]
            terms = {"mlm": self._guess(state, labels)}
            if self._shell:
                assert decoder_input_ids is not None
                assert decoder_labels is not None
                first = self.head.lift(state[:, :1])
                guesses = self._decode(first.roll(1, 0) if shuffled else first, decoder_input_ids, attention_mask)
                terms["mae"] = self._guess(guesses, decoder_labels)
            found.append(terms)
        return found

    def _guess(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy at the masked positions: only these meet the vocabulary."""
        masked = labels != IGNORED
        embedding = self.encoder.get_input_embeddings().weight
        return functional.cross_entropy(self.head(states[masked], embedding), labels[masked])

    def _decode(self, first: torch.Tensor, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """States after the one block, of the embedded text whose first embedding is `first` (rows, 1, width)."""
        shell = self._shell[0]
        shell.embeddings.first = first
        try:
            return shell(input_ids=ids, attention_mask=attention_mask, return_dict=True).last_hidden_state
        finally:
            shell.embeddings.first = None


class _WithFirst(nn.Module):
    """Another's embeddings, of which the first of each row is replaced by what was set."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.first: torch.Tensor | None = None

    def forward(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """The embeddings (rows, tokens, width)."""
        rows = self.embeddings(*arguments, **options)
        assert self.first is not None
        return torch.cat([self.first.to(rows.dtype), rows[:, 1:]], dim=1)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("embeddings"), name)


def _behind_embeddings(encoder: Any, block: nn.Module, stack: Stack) -> Any:
    """The encoder with `block` for its only one; it shares all else, and its embeddings take a first state."""
    if not isinstance(getattr(encoder, "embeddings", None), nn.Module):
        kind = getattr(encoder.config, "model_type", type(encoder).__name__)
        raise AnysizeError(f"a model of type {kind!r} keeps its embeddings where SMAE does not find them")
    shell = truncated(encoder, 1, stack)
    shell.get_submodule(stack.path)[0] = block
    shell._modules["embeddings"] = _WithFirst(encoder.embeddings)
    return shell


@torch.no_grad()
def losses_by_size(module: SMAEObjective, batches: Iterable[dict[str, torch.Tensor]]) -> dict[str, dict[str, float]]:
    """
    Size -> its terms, the mean over `batches` without dropout; ``mae_shuffled`` is `mae` with another text's state.

    The less ``mae`` is than ``mae_shuffled``, the more the first state of that size tells of its text.
    """
    training = module.training
    module.eval()
    sums: dict[str, dict[str, float]] = {str(size): {} for size in module.sizes}
    count = 0
    for batch in batches:
        count += 1
        given: dict[str, Any] = {name: value.to(module.head.bias.device) for name, value in batch.items()}
        found = [module.terms(**given)] + ([module.terms(**given, shuffled=True)] if module.decoder is not None else [])
        for place, terms in enumerate(sums.values()):
            told = found[0][place] | ({"mae_shuffled": found[1][place]["mae"]} if len(found) > 1 else {})
            for name, value in told.items():
                terms[name] = terms.get(name, 0.0) + float(value)
    module.train(training)
    return {size: {name: value / max(1, count) for name, value in terms.items()} for size, terms in sums.items()}
