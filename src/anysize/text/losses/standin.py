"""A stand-in for a sentence encoder that encodes once and shows any prefix of what it got."""

from __future__ import annotations

import copy
import types
from typing import Any, TypeVar

import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError

Module = TypeVar("Module", bound=torch.nn.Module)


def normalized_prefix(rows: torch.Tensor, dim: int) -> torch.Tensor:
    """
    The first `dim` coordinates of rows (..., d), at unit length. Raises `SizeError` if there are not so many.

    Slice, then normalise: a prefix of a unit vector is not a unit vector.
    """
    if dim > rows.shape[-1]:
        raise SizeError(f"cannot take {dim} dimensions of embeddings with {rows.shape[-1]}")
    return functional.normalize(rows[..., :dim], dim=-1)


class StandIn(torch.nn.Module):
    """
    Answers a loss's calls to its model: the first time round by running it, later from memory, always cut.

    ``show(dim)`` starts a round. The calls of a round are told apart by their order, so every round must make the
    same ones; ``check`` raises `AnysizeError` after a round that did not. Anything else is asked of the model.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        # In a tuple, so that the model does not become a submodule.
        self._real: tuple[Any] = (model,)
        self._outputs: list[dict[str, Any]] = []
        self._turn = self._rounds = 0
        self._dim = 0

    def show(self, dim: int) -> None:
        """Start a round in which embeddings are cut to `dim`."""
        self._dim, self._turn, self._rounds = dim, 0, self._rounds + 1

    def check(self, asker: str) -> None:
        """Raise `AnysizeError` if this round did not use every embedding of the first."""
        if not self._outputs:
            raise AnysizeError(f"{asker} never called the model that MatryoshkaLoss was given; give both the same one")
        if self._turn != len(self._outputs):
            raise AnysizeError(
                f"{asker} called the model {self._turn} times at {self._dim} dimensions and {len(self._outputs)} "
                "times at the first size; it cannot be nested"
            )

    def forward(self, features: dict[str, Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        """The model's output, with the embedding cut to the size of this round."""
        if self._turn >= len(self._outputs):
            if self._rounds > 1:
                raise AnysizeError(
                    f"the loss called the model more often at {self._dim} dimensions than at the first size; "
                    "it cannot be nested"
                )
            self._outputs.append(self._encode(features, *arguments, **options))
        output = self._outputs[self._turn]
        self._turn += 1
        return {**output, "sentence_embedding": self._shown(output)}

    def _encode(self, features: dict[str, Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        # A copy of the dict: the model may later write into its own.
        return dict(self._real[0](features, *arguments, **options))

    def _shown(self, output: dict[str, Any]) -> torch.Tensor:
        return normalized_prefix(output["sentence_embedding"], self._dim)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._real[0], name)

    def __getitem__(self, index: int) -> Any:
        return self._real[0][index]


def with_model(module: Module, model: torch.nn.Module, standin: torch.nn.Module) -> Module:
    """A copy of `module` in which `standin` takes the place of `model`; parameters and all else are shared."""
    twin = _copy(module)
    for name, child in module._modules.items():
        if child is model:
            twin._modules[name] = standin
        elif child is not None and any(part is model for part in child.modules()):
            twin._modules[name] = with_model(child, model, standin)
    return twin


def with_attribute(module: Module, name: str, value: Any) -> Module:
    """A copy of `module` with one attribute of its own; parameters and all else are shared."""
    twin = _copy(module)
    twin.__dict__[name] = value
    return twin


def _copy(module: Module) -> Module:
    twin = copy.copy(module)
    twin.__dict__ = dict(module.__dict__)
    twin.__dict__["_modules"] = dict(module._modules)
    # A bound method kept as an attribute would still act on the original.
    for name, value in module.__dict__.items():
        if isinstance(value, types.MethodType) and value.__self__ is module:
            twin.__dict__[name] = types.MethodType(value.__func__, twin)
    return twin
