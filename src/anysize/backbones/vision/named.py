"""Towers by name: opened with the weights that their library has for them, or made anew."""

from __future__ import annotations

import os
from typing import Any

import torch

from anysize.backbones.huggingface import config_of, configuration, opening, pretrained
from anysize.backbones.vision.squares import side_of
from anysize.backbones.vision.towers import KINDS, MEAN, STD, Tower, TransformersTower, library_of
from anysize.core.errors import AnysizeError


def open_tower(name: str | os.PathLike[str], *, from_scratch: bool = False, layers: int | None = None) -> Tower:
    """
    The tower of that name with the weights that its library has for it, or with fresh ones.

    `layers` keeps the first so many blocks of a model of transformers. Raises `AnysizeError` for a name that is none,
    or weights that are not at hand.
    """
    library, _, rest = str(name).partition(":")
    if library in ("timm", "torchvision") and not os.path.exists(name):
        if layers is not None:
            raise AnysizeError(f"layers cuts models of transformers; write timm:{rest}:depth={layers} --from-scratch")
        called, _, args = rest.partition(":")
        spec = {"library": library, "name": called, "args": _numbers(args, name)}
        library_of(library)
        with opening("image model", name):
            made: Tower = KINDS[library].made(spec, weights=not from_scratch)
        return made.eval()
    with opening("image model", name):
        return _of_transformers(name, from_scratch, layers).eval()


def _of_transformers(name: str | os.PathLike[str], from_scratch: bool, layers: int | None) -> Tower:
    from transformers import AutoConfig, AutoImageProcessor, AutoModel

    more = {} if layers is None else {"num_hidden_layers": layers}
    config = pretrained(AutoConfig, name)
    vision = getattr(config, "vision_config", None)
    depth = getattr(vision or config, "num_hidden_layers", None)
    if layers is not None and (vision is not None or depth is None or not 0 < layers <= depth):
        raise AnysizeError(f"{name} has {depth} blocks; layers cannot be {layers}")
    if from_scratch:
        net = AutoModel.from_config(configuration({**config_of_values(config), **more}))
    else:
        net = pretrained(AutoModel, name, dtype=torch.float32, **more)
    net = getattr(net, "vision_model", net)
    shown: dict[str, Any] = {
        "side": side_of(getattr(net.config, "image_size", 224), name),
        "mean": list(MEAN),
        "std": list(STD),
        "crop": 0.875,
    }
    try:
        says = pretrained(AutoImageProcessor, name).to_dict()
        shown |= {"mean": list(says["image_mean"]), "std": list(says["image_std"])}
        size = says.get("crop_size") or says.get("size") or {}
        whole = (says.get("size") or {}).get("shortest_edge")
        shown["side"] = int(size.get("height") or size.get("shortest_edge") or shown["side"])
        shown["crop"] = min(1.0, shown["side"] / whole) if whole and says.get("crop_size") else 1.0
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        pass  # a folder without what prepares pictures: those of ImageNet will do
    return TransformersTower(net, {"library": "transformers", "config": config_of(net), **shown})


def config_of_values(config: Any) -> dict[str, Any]:
    """A configuration as plain values, its type among them."""
    return {name: value for name, value in config.to_dict().items() if name not in ("_name_or_path", "auto_map")}


def _numbers(said: str, name: object) -> dict[str, int]:
    """``img_size=32,depth=4`` -> the numbers by name."""
    found = {}
    for part in filter(None, said.split(",")):
        key, _, value = part.partition("=")
        if not key.isidentifier() or not value.isdigit():
            raise AnysizeError(f"{name}: {part!r} is no name=number, such as img_size=32 or depth=4")
        found[key] = int(value)
    return found
