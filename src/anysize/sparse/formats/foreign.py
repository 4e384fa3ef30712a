"""
Files of two other libraries of sparse autoencoders, read into ours: `dictionary_learning` and `sparsify`.

dictionary_learning (saprmarks) keeps `ae.pt` beside `config.json`, sparsify (EleutherAI) `sae.safetensors` beside
`cfg.json`. An `ae.pt` is read with torch's restricted reader, which makes tensors and numbers and runs nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from anysize.core.errors import CheckpointError, reason_of
from anysize.core.files import read_object
from anysize.core.sizes.nesting import Nesting
from anysize.sparse.autoencoder.activations import Activation
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.formats.saelens import assembled, check_width, expect, tensors

DICTIONARY, SPARSIFY = "ae.pt", "sae.safetensors"
_ACTIVATIONS: dict[str, Activation] = {
    "AutoEncoder": "relu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "batchtopk",
    "MatryoshkaBatchTopKSAE": "batchtopk",
    "JumpReluAutoEncoder": "jumprelu",
}
_RENAMED = {"encoder.bias": "b_enc", "bias": "b_dec"}
_BESIDE = ("k", "threshold", "group_sizes", "active_groups")
"""What a file may hold beside the weights; `active_groups` is a view of its maker's and is not kept."""


def read_dictionary(path: str | os.PathLike[str]) -> SparseAutoencoder:
    """
    An autoencoder of dictionary_learning; the groups of a Matryoshka one become the levels of `latents`.

    Raises `CheckpointError`, naming the keys found, for a class that is none of these or tensors of other names.
    """
    directory = Path(path)
    where = directory / DICTIONARY
    state = _restricted(where)
    activation = _activation(directory, state)
    weights = {_RENAMED.get(name, name): value for name, value in state.items() if name not in _BESIDE}
    for name in ("encoder", "decoder"):
        if f"{name}.weight" in weights:  # a torch Linear keeps (out, in)
            weights["W_enc" if name == "encoder" else "W_dec"] = weights.pop(f"{name}.weight").T
    if set(weights) != {"W_enc", "b_enc", "W_dec", "b_dec"}:
        names = ", ".join(sorted(state))
        raise CheckpointError(f"{where} holds {names}; expected W_enc, b_enc, W_dec, b_dec or their Linear layers")
    latents = weights["W_enc"].shape[-1] if weights["W_enc"].dim() else 0
    if activation in ("batchtopk", "jumprelu"):
        if "threshold" not in state:
            raise CheckpointError(
                f"{where} holds {', '.join(sorted(state))}; expected a threshold, without which no code"
            )
        if state["threshold"].numel() != 1 and tuple(state["threshold"].shape) != (latents,):
            raise CheckpointError(
                f"{where} holds a threshold of shape {tuple(state['threshold'].shape)}; expected one, or one for each "
                f"of {latents} latents"
            )
        # A negative threshold means that none was learnt yet, and then nothing positive is cut.
        weights["threshold"] = state["threshold"].float().clamp_min(0).expand(latents).clone()
    if activation == "jumprelu" and not _trainer(directory).get("apply_b_dec_to_input", False):
        weights["b_enc"] = weights["b_enc"] + weights["b_dec"] @ weights["W_enc"]
    active = _k(state["k"], where) if "k" in state else None
    sae = assembled(weights, where, activation=activation, active=active, nesting=_groups(state, latents, where))
    sae.about = {"method": "dictionary_learning", "options": {}, "source": str(directory)}
    return sae


def read_sparsify(path: str | os.PathLike[str]) -> SparseAutoencoder:
    """
    An autoencoder of sparsify, which takes ``b_dec`` off its input, and so do we.

    Raises `CheckpointError` for a transcoder, another activation, or tensors of other names.
    """
    directory = Path(path)
    where, config = directory / SPARSIFY, read_object(directory / "cfg.json", "an autoencoder of sparsify")
    for option in ("transcode", "skip_connection"):
        if config.get(option):
            raise CheckpointError(f"{directory} has {option}, so it does not rebuild its own input; expected without")
    if config.get("signed"):
        raise CheckpointError(f"{directory} has signed codes, which keep negative values; expected signed to be false")
    if config.get("activation", "topk") != "topk" or "k" not in config:
        raise CheckpointError(f"{directory / 'cfg.json'} holds {json.dumps(config)}; expected activation topk and a k")
    state = tensors(where)
    expect(state, ["encoder.weight", "encoder.bias", "W_dec", "b_dec"], where)
    weights = {
        "W_enc": state["encoder.weight"].T,
        "b_enc": state["encoder.bias"],
        "W_dec": state["W_dec"],
        "b_dec": state["b_dec"],
    }
    check_width(weights["W_enc"], config, directory / "cfg.json")
    sae = assembled(weights, where, activation="topk", active=config["k"])
    sae.about = {"method": "sparsify", "options": {}, "source": str(directory)}
    return sae


def _restricted(where: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(where, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = reason_of(error)
        if isinstance(error, pickle.UnpicklingError):  # torch's own words advise to read it without the restriction
            reason = "it holds other objects, which could run code, or it is damaged"
        raise CheckpointError(f"{where} cannot be read as tensors alone ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{where} holds no table of tensors; expected a state dict")
    return state


def _trainer(directory: Path) -> dict[str, Any]:
    file = directory / "config.json"
    found = read_object(file, "an autoencoder of dictionary_learning") if file.is_file() else {}
    trainer = found.get("trainer", found)
    if not isinstance(trainer, dict):
        raise CheckpointError(f"{file} describes no trainer; it may be damaged")
    return trainer


def _activation(directory: Path, state: dict[str, torch.Tensor]) -> Activation:
    """By the class that `config.json` names, else by what the tensors can only mean."""
    named = _trainer(directory).get("dict_class")
    if isinstance(named, str) and named in _ACTIVATIONS:
        return _ACTIVATIONS[named]
    if named is not None:
        known = ", ".join(_ACTIVATIONS)
        raise CheckpointError(f"{directory} holds a {named} ({', '.join(sorted(state))}); expected one of {known}")
    if "group_sizes" in state:
        return "batchtopk"
    if "k" in state:
        raise CheckpointError(
            f"{directory} holds {', '.join(sorted(state))}: TopK or BatchTopK; put its config.json beside it"
        )
    return "jumprelu" if "threshold" in state else "relu"


def _k(value: torch.Tensor, where: Path) -> int:
    if value.numel() != 1 or not value.item() >= 1 or value.item() != int(value.item()):
        raise CheckpointError(f"{where} holds k={value.tolist()}; expected a whole number of at least 1")
    return int(value.item())


def _groups(state: dict[str, torch.Tensor], latents: int, where: Path) -> Nesting | None:
    if "group_sizes" not in state:
        return None
    sizes = state["group_sizes"].tolist()
    if not isinstance(sizes, list) or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise CheckpointError(f"{where} holds groups of {sizes} latents; expected whole numbers of at least 1")
    if sum(sizes) != latents:
        raise CheckpointError(f"{where} holds groups of {sizes} latents, {sum(sizes)} in all; it has {latents}")
    return Nesting(latents=list(itertools.accumulate(sizes)))
