"""What follows the transformer of a sentence encoder: pooling, then perhaps dense layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from anysize.core.errors import AnysizeError, CheckpointError

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "ELU", "LeakyReLU", "Mish", "Softplus")
_PLACE = "sentence_embedding"


def tail_of(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """
    The modules after the transformer, without the `Normalize` at their end.

    Raises `AnysizeError`, naming it, for a module that cannot follow a cut transformer or could not be built again.
    """
    tail: list[nn.Module] = []
    for position, module in enumerate(modules):
        name = type(module).__name__
        if name == "Normalize" and position == len(modules) - 1:
            continue  # vectors are normalised after they are cut, never before
        if name not in ("Pooling", "Dense"):
            raise AnysizeError(f"cannot cut layers below a {name} module; supported are Pooling, Dense, Normalize")
        if (name == "Pooling") is bool(tail):
            raise AnysizeError("cannot cut layers of this model: expected Pooling once, right after the transformer")
        if name == "Dense":
            _check_dense(module)
        tail.append(module)
    if not tail:
        raise AnysizeError("cannot cut layers of a model that does not pool its tokens")
    return tail


def pooled(pooling: nn.Module, state: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
    """
    Token states (rows, tokens, width) to one vector a row; without the prompts where `inputs` has their lengths.

    The library reads one length of prompt for a batch, so rows of one length are pooled together.
    """
    given = {**inputs, "token_embeddings": state}
    lengths = given.pop("prompt_length", None)
    if lengths is None:
        found: torch.Tensor = pooling(given)[_PLACE]
        return found
    parts: dict[int, torch.Tensor] = {}
    for length in lengths.unique().tolist():
        rows = (lengths == length).nonzero()[:, 0]
        part = {name: value[rows] for name, value in given.items()}
        vectors = pooling({**part, "prompt_length": length})[_PLACE]
        parts |= dict(zip(rows.tolist(), vectors, strict=True))
    return torch.stack([parts[row] for row in range(len(state))])


def finish(modules: Sequence[nn.Module], vectors: torch.Tensor) -> torch.Tensor:
    """Pooled vectors through the layers after pooling, in the type of their weights."""
    for module in modules:
        vectors = module({_PLACE: vectors.to(next(module.parameters()).dtype)})[_PLACE]
    return vectors


def described(module: Any) -> dict[str, Any]:
    """Plain values from which `module_of` builds one like it."""
    return {"type": type(module).__name__, **module.get_config_dict()}


def module_of(described: Mapping[str, Any]) -> nn.Module:
    """An untrained module as `described`. Raises `CheckpointError` for a kind that this version cannot build."""
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling

    config = dict(described)
    kind = config.pop("type")
    if kind == "Pooling":
        return Pooling(**config)
    name = _last(config.pop("activation_function", "Identity"))
    if kind != "Dense" or name not in ACTIVATIONS:
        raise CheckpointError(f"a layer of type {kind} with {name} is none that this version can build")
    known = {key: config[key] for key in ("in_features", "out_features", "bias", "use_residual") if key in config}
    return Dense(**known, activation_function=getattr(nn, name)())


def _check_dense(module: Any) -> None:
    said = module.get_config_dict()
    name = _last(said["activation_function"])
    if name not in ACTIVATIONS:
        raise AnysizeError(
            f"cannot cut layers below a Dense module with {name}; supported are {', '.join(ACTIVATIONS)}"
        )
    if {said["module_input_name"], said["module_output_name"]} != {_PLACE}:
        raise AnysizeError(f"cannot cut layers below a Dense module over {said['module_input_name']}")


def _last(name: str) -> str:
    return str(name).rpartition(".")[2]
