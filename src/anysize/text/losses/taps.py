"""
The sentence vectors after every layer of a sentence-transformers model, from one forward pass per column of texts.

The model is run as it stands (also wrapped for several processes), with its hidden states asked for in the way that
transformers offers; nothing is replaced in it. A tapped layer is what the model cut there would give.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from anysize.backbones.blocks import Stack, find_stack
from anysize.core.errors import AnysizeError
from anysize.text.losses.standin import StandIn, normalized_prefix


class Tapper:
    """
    Runs a model and gives the sentence vectors after chosen layers.

    Layer l is the state after block l; 0 is the output of the embedding table. With `mini_batch_size`, a column is
    run in parts whose activations are computed again in the backward pass (GradCache, Gao et al. 2021), so memory
    holds one part's activations and the sentence vectors. `gather` joins the columns of all processes.
    """

    def __init__(
        self, model: Any, *, mini_batch_size: int | None = None, gather: bool = False, final_norm: bool = True
    ) -> None:
        self.model = model
        self.bare = unwrapped(model)
        self.stack: Stack = find_stack(self.bare[0].auto_model)
        self.mini_batch_size, self.gather, self.final_norm = mini_batch_size, gather, final_norm
        if mini_batch_size is not None and model is not self.bare:
            raise AnysizeError(
                "mini_batch_size cannot recompute a model that is wrapped for several processes; "
                "wrap the loss with the model inside, or leave it out"
            )

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return self.stack.depth

    def run(self, features: dict[str, Any], layers: Sequence[int]) -> dict[int, torch.Tensor]:
        """Vectors (rows, width) after each of these layers, before any normalisation."""
        rows, part = len(features["input_ids"]), self.mini_batch_size
        if part is None or part >= rows or not torch.is_grad_enabled():
            found = self._pass(features, layers)
        else:
            parts = [
                checkpoint(self._pass, _rows(features, slice(start, start + part)), layers, use_reentrant=False)
                for start in range(0, rows, part)
            ]
            found = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
        if self.gather:
            found = [gathered(vectors) for vectors in found]
        return dict(zip(layers, found, strict=True))

    def output(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the model as a whole makes of such vectors: normalised, where it ends with that."""
        return torch.nn.functional.normalize(vectors, dim=-1) if _normalizes(self.bare) else vectors

    def _pass(self, features: dict[str, Any], layers: Sequence[int]) -> list[torch.Tensor]:
        with _hidden_states(self.bare[0].auto_model.config):
            output = self.model(dict(features))
        norm = self.stack.norm(self.bare[0].auto_model) if self.final_norm else None
        found = []
        for layer in layers:
            state = output["token_embeddings"]
            if layer < self.depth:
                state = output["all_layer_embeddings"][layer]
                state = state if norm is None else norm(state)
            found.append(self._pool(output, state))
        return found

    def _pool(self, output: dict[str, Any], state: torch.Tensor) -> torch.Tensor:
        after = {**output, "token_embeddings": state}
        for module in list(self.bare)[1:]:
            if type(module).__name__ != "Normalize":
                after = module(after)
        vectors: torch.Tensor = after["sentence_embedding"]
        return vectors[:, : self.bare.truncate_dim]  # where the model cuts its vectors, the rest is none of them


class LayeredStandIn(StandIn):
    """Answers a loss's calls to its model with the vectors of one layer, whole or cut; each column is run once."""

    def __init__(self, tapper: Tapper, layers: Sequence[int]) -> None:
        super().__init__(tapper.model)
        self._tapper, self._layers = tapper, tuple(layers)
        self._layer, self._whole = 0, True

    def show_layer(self, layer: int, dim: int | None) -> None:
        """Start a round at this layer, with vectors as the model gives them, or the first `dim` of them, normalised."""
        self.show(dim or 0)
        self._layer, self._whole = layer, dim is None

    def columns(self) -> list[dict[int, torch.Tensor]]:
        """Layer -> vectors, of every column that was run."""
        return [output["taps"] for output in self._outputs]

    def _encode(self, features: dict[str, Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        return {**features, "taps": self._tapper.run(features, self._layers)}

    def _shown(self, output: dict[str, Any]) -> torch.Tensor:
        vectors = output["taps"][self._layer]
        return self._tapper.output(vectors) if self._whole else normalized_prefix(vectors, self._dim)


class NoEncoderError(AnysizeError, TypeError):
    """What was given to train is no SentenceTransformer, nor wraps one; sentence-transformers has TypeError for it."""


def unwrapped(model: Any) -> Any:
    """
    The sentence-transformers model inside what wraps it for several processes or for compilation.

    Raises `NoEncoderError` if there is none inside, `AnysizeError` if it has no layers.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    given = model
    while not isinstance(model, SentenceTransformer):
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        if inner is None:
            raise NoEncoderError(
                f"could not unwrap {type(given).__name__} to a SentenceTransformer to train: "
                f"stopped at {type(model).__name__}"
            )
        model = inner
    if not isinstance(model[0], Transformer):
        raise AnysizeError(f"a model that begins with {type(model[0]).__name__} has no layers to train")
    return model


def joins() -> bool:
    """Whether other processes are at this same step: not where one alone looks at the model, without gradients."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and torch.is_grad_enabled()


def gathered(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes in their order, with gradients; the rows themselves where there is one process."""
    if not joins():
        return rows
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(rows))


@contextlib.contextmanager
def _hidden_states(config: Any) -> Iterator[None]:
    before = config.output_hidden_states
    config.output_hidden_states = True
    try:
        yield
    finally:
        config.output_hidden_states = before


def _normalizes(model: Any) -> bool:
    return any(type(module).__name__ == "Normalize" for module in model)


def _rows(features: dict[str, Any], rows: slice) -> dict[str, Any]:
    count = len(features["input_ids"])
    return {
        name: value[rows] if isinstance(value, torch.Tensor) and value.ndim and len(value) == count else value
        for name, value in features.items()
    }
