"""Copies of a model that share all weights but a few: other modules, or other values, at named places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from anysize.backbones.blocks import shallow


def with_parts(model: Any, parts: Mapping[str, nn.Module]) -> Any:
    """The same model with other modules at these paths: a shallow copy that shares everything else."""
    twin = shallow(model)
    copied: dict[str, Any] = {"": twin}
    for path, module in parts.items():
        home, name = _home(copied, path)
        home._modules[name] = module
    return twin


def with_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> Any:
    """The same model with other values of these parameters, by their names; it shares everything else."""
    twin = shallow(model)
    copied: dict[str, Any] = {"": twin}
    for path, value in weights.items():
        module, _, name = path.rpartition(".")
        home = twin
        if module:
            above, last = _home(copied, module)
            if module not in copied:
                copied[module] = above._modules[last] = shallow(above._modules[last])
            home = copied[module]
        if home._parameters is model.get_submodule(module)._parameters:
            home.__dict__["_parameters"] = dict(home._parameters)
        home._parameters[name] = nn.Parameter(value, requires_grad=False)
    return twin


def _home(copied: dict[str, Any], path: str) -> tuple[Any, str]:
    """The copy of what holds the module at `path`, made together with all above it, and the module's name there."""
    *above, last = path.split(".")
    here = ""
    for name in above:
        inside = f"{here}.{name}".lstrip(".")
        if inside not in copied:
            copied[inside] = copied[here]._modules[name] = shallow(copied[here]._modules[name])
        here = inside
    return copied[here], last
