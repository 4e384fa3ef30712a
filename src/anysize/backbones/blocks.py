"""
The layer axis of a Hugging Face encoder: its stack of blocks, copies with fewer of them, and the state after each.

A copy shares every weight with the model it was taken from and really runs fewer blocks. A tapped state is what the
model cut at that block would give, so a final norm (pre-norm models such as ModernBERT and Llama) is applied to each.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anysize.core.errors import AnysizeError, SizeError

FINAL_NORMS = ("final_norm", "norm", "ln_f", "final_layer_norm", "final_layernorm")
"""What models call the norm that stands once, after the last block and beside the stack."""

SUPPORTED = "BERT, RoBERTa, XLM-R, MPNet, DistilBERT, ELECTRA, ModernBERT, Llama, Qwen and others with one such list"


@dataclass(frozen=True)
class Stack:
    """Where the blocks of a model are: `path` from the model to their list, and the norm after the last, if any."""

    path: str
    depth: int
    final_norm: str | None

    def blocks(self, model: nn.Module) -> nn.ModuleList:
        """The blocks, first to last."""
        found = model.get_submodule(self.path)
        assert isinstance(found, nn.ModuleList)
        return found

    def norm(self, model: nn.Module) -> nn.Module | None:
        """The final norm."""
        return None if self.final_norm is None else model.get_submodule(self.final_norm)


def find_stack(model: nn.Module) -> Stack:
    """
    The stack of blocks of a transformer: its one list of as many modules as its configuration counts layers.

    Raises `AnysizeError` for a model that has none, or several.
    """
    kind = getattr(model.config, "model_type", type(model).__name__)
    depth = getattr(model.config, "num_hidden_layers", None)
    lists = {name: part for name, part in model.named_modules() if isinstance(part, nn.ModuleList)}
    found = [name for name, part in lists.items() if len(part) == depth and not _inside_another(name, lists)]
    if depth is None or len(found) != 1:
        raise AnysizeError(
            f"a model of type {kind!r} has no single list of blocks that can be cut; supported are {SUPPORTED}"
        )
    home = found[0].rpartition(".")[0]
    beside = dict(model.get_submodule(home).named_children())
    norm = next((name for name in FINAL_NORMS if name in beside), None)
    return Stack(found[0], depth, None if norm is None else f"{home}.{norm}".lstrip("."))


def check_layers(stack: Stack, layers: Sequence[int]) -> None:
    """Raise `SizeError` unless every number of layers lies between 1 and the model's."""
    for count in layers:
        if not 1 <= count <= stack.depth:
            raise SizeError(f"layers={count} is out of range; this model has layers 1 to {stack.depth}")


def shortened(config: Any, layers: int) -> Any:
    """A copy of a Hugging Face configuration for a model of so many layers; lists with one entry a layer are cut."""
    depth = config.num_hidden_layers
    values = config.to_dict()
    per_layer = {name: value[:layers] for name, value in values.items() if isinstance(value, list) and name in _LISTS}
    short = copy.deepcopy(config)
    for name, value in per_layer.items():
        if len(values[name]) == depth:
            setattr(short, name, value)
    short.num_hidden_layers = layers
    return short


_LISTS = ("layer_types", "attention_layers", "mlp_layer_types", "no_rope_layers")


def truncated(model: Any, layers: int, stack: Stack | None = None) -> Any:
    """
    The same model with only its first blocks: a shallow copy that shares all weights and runs no more than these.

    Raises `SizeError` if there are not so many.
    """
    stack = stack or find_stack(model)
    check_layers(stack, [layers])
    names = stack.path.split(".")
    short = shallow(model)
    short.config = shortened(model.config, layers)
    part = short
    for name in names[:-1]:
        child = shallow(part._modules[name])
        if getattr(child, "config", None) is model.config:
            child.config = short.config
        part._modules[name] = child
        part = child
    part._modules[names[-1]] = nn.ModuleList(list(stack.blocks(model))[:layers])
    return short


def tapped(model: Any, inputs: dict[str, torch.Tensor], layers: Sequence[int], stack: Stack) -> dict[int, torch.Tensor]:
    """
    Token states (rows, tokens, width) after each of these layers, from one pass that stops at the deepest.

    `tapped(model, inputs, [n])` equals ``truncated(model, n)(**inputs).last_hidden_state``.
    """
    deepest = max(layers)
    short = model if deepest == stack.depth else truncated(model, deepest, stack)
    if list(layers) == [deepest]:
        return {deepest: short(**inputs, return_dict=True).last_hidden_state}
    output = short(**inputs, output_hidden_states=True, return_dict=True)
    return dict(zip(layers, normed_states(model, output, layers, deepest, stack), strict=True))


def normed_states(model: Any, output: Any, layers: Sequence[int], deepest: int, stack: Stack) -> Iterator[torch.Tensor]:
    """The state after each of `layers` from a pass with hidden states, each as if its layer had been the last."""
    norm = stack.norm(model)
    for layer in layers:
        if layer == deepest:
            yield output.last_hidden_state
        else:
            state = output.hidden_states[layer]
            yield state if norm is None else norm(state)


def checkpoint_activations(model: Any) -> None:
    """Keep only each block's input for the backward pass and compute the rest again there: less memory, more time."""
    # The method's name changed within the versions of transformers that are supported.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()


def _inside_another(name: str, lists: dict[str, nn.ModuleList]) -> bool:
    return any(name.startswith(f"{other}.") for other in lists)


def shallow(module: Any) -> Any:
    """A copy of one module whose table of children is its own; everything in it is shared."""
    twin = copy.copy(module)
    twin.__dict__ = dict(module.__dict__)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin
