"""One masked-language head for every width: its dense layer is applied with as many input columns as a state has."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from anysize.core.errors import AnysizeError

SUPPORTED = "BERT, RoBERTa, XLM-R, CamemBERT, MPNet and DistilBERT"


class NestedHead(nn.Module):
    """
    ``vocabulary(norm(activation(W[:, :d] h + b)))`` for states h of any width d up to the model's.

    Made of the parts of `model`, one of transformers' masked-language models. The matrix of the vocabulary is the
    encoder's own word embedding where the model ties them: it is given at each call and not kept twice.
    Raises `AnysizeError` for a model with another kind of head.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.dense, self.activation, self.norm, vocabulary = _parts(model)
        tied = vocabulary.weight is model.get_input_embeddings().weight
        self.weight = None if tied else vocabulary.weight
        self.bias = nn.Parameter(vocabulary.bias.detach().clone())

    def lift(self, states: torch.Tensor) -> torch.Tensor:
        """States (..., d) to the model's full width (..., D)."""
        weight = self.dense.weight[:, : states.shape[-1]]
        return self.norm(self.activation(functional.linear(states, weight, self.dense.bias)))

    def forward(self, states: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Logits (..., vocabulary) of states (..., d); `embedding` is the encoder's, (vocabulary, D)."""
        return functional.linear(self.lift(states), embedding if self.weight is None else self.weight, self.bias)


def _parts(model: Any) -> tuple[nn.Linear, Any, nn.Module, nn.Linear]:
    """Dense layer, activation, norm and vocabulary of a masked-language model."""
    if hasattr(model, "vocab_transform"):  # DistilBERT
        return model.vocab_transform, model.activation, model.vocab_layer_norm, model.vocab_projector
    head: Any = getattr(model, "lm_head", None)
    if all(hasattr(head, name) for name in ("dense", "layer_norm", "decoder")):  # RoBERTa and its kin, MPNet
        return head.dense, functional.gelu, head.layer_norm, head.decoder
    head = getattr(getattr(model, "cls", None), "predictions", None)
    if hasattr(head, "transform") and hasattr(head.transform, "dense"):  # BERT
        return head.transform.dense, head.transform.transform_act_fn, head.transform.LayerNorm, head.decoder
    kind = getattr(model.config, "model_type", type(model).__name__)
    raise AnysizeError(f"pre-training does not know the masked-language head of type {kind!r}; supported: {SUPPORTED}")
