"""
The directory layout of SAELens (decoderesearch/SAELens, version 6): `cfg.json` beside `sae_weights.safetensors`.

Centring and scaling are folded into the weights, so that the file runs on raw inputs: with ``x' = (x - m) s``,
``W_enc <- s W_enc``, ``W_dec <- W_dec / s``, ``b_dec <- m + b_dec / s``. The codes stay the same. The nesting, which
the layout does not know, travels in its metadata under ``anysize``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from anysize.core.engine_checks import Exported
from anysize.core.errors import CheckpointError
from anysize.core.files import new_directory, read_object, write_json
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.sizes.nesting import Nesting
from anysize.core.version import __version__
from anysize.sparse.autoencoder.activations import Activation
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.formats.checking import by_sae_lens

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_VERSION = "6.0.0"  # the version of the layout; without one, SAELens takes the file for one older than 6
_ARCHITECTURES: dict[str, Activation] = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu"}


def export(sae: SparseAutoencoder, path: str | os.PathLike[str]) -> Exported:
    """As `write`, checked by SAELens where it is installed."""
    return write(sae, path, check=True)


def write(sae: SparseAutoencoder, path: str | os.PathLike[str], *, check: bool = False) -> Exported:
    """
    Write this view's size as a directory that `sae_lens.SAE.load_from_disk` loads; `check` has SAELens do so first.

    BatchTopK runs there as it does here at inference, as a JumpReLU; TopK of as many as there are latents is a ReLU.
    """
    small = sae.extract(sae.size)
    config = {
        "architecture": _architecture(small),
        "d_in": small.width,
        "d_sae": small.latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": _VERSION,
            "made_by": f"anysize {__version__}",
            "anysize": {"nesting": small.nesting.to_json(), "config": small.config(), "about": small.about},
        },
    }
    if config["architecture"] == "topk":
        config |= {"k": small.active, "rescale_acts_by_decoder_norm": False}
    with new_directory(path, marker=EXPORT) as directory:
        save_file(_folded(small, config["architecture"]), directory / WEIGHTS)
        write_json(directory / CONFIG, config)
        checks = (by_sae_lens(sae, directory),) if check else ()
        exported = Exported("SAELens", checks, how=f'sae_lens.SAE.load_from_disk("{path}")')
        write_note(directory, "saelens", {"size": sae.size.to_json()}, exported)
    return exported


def read(path: str | os.PathLike[str]) -> SparseAutoencoder:
    """
    Any autoencoder in this layout; without levels of ours it is nested in its full width alone.

    Raises `CheckpointError`, naming the keys found, for one of another architecture, with other tensors, or that
    normalises its inputs at run time.
    """
    directory = Path(path)
    config = _modern(read_object(directory / CONFIG, "an autoencoder in the layout of SAELens"))
    for key in ("rescale_acts_by_decoder_norm", "apply_b_dec_to_input"):
        if not isinstance(config.get(key, True), bool):
            raise CheckpointError(f"{directory / CONFIG} has {key}={config[key]!r}; expected true or false")
    architecture = config.get("architecture")
    if architecture not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise CheckpointError(f"{directory} has the architecture {architecture!r}; expected one of {known}")
    for key in ("normalize_activations", "reshape_activations"):
        if config.get(key, "none") not in ("none", None):
            raise CheckpointError(
                f"{directory} needs {key}={config[key]!r}, which is done outside the weights; fold it"
            )
    state = tensors(directory / WEIGHTS)
    if "scaling_factor" in state and bool((state["scaling_factor"] == 1).all()):
        del state["scaling_factor"]  # older files carry one that does nothing
    names = ["W_enc", "b_enc", "W_dec", "b_dec", *(["threshold"] if architecture == "jumprelu" else [])]
    expect(state, names, directory / WEIGHTS)
    check_width(state["W_enc"], config, directory / CONFIG)
    if config.get("rescale_acts_by_decoder_norm"):
        lengths = state["W_dec"].norm(dim=1)
        state["W_enc"], state["b_enc"] = state["W_enc"] * lengths, state["b_enc"] * lengths
        state["W_dec"] = state["W_dec"] / lengths.clamp_min(1e-8)[:, None]
    if not config.get("apply_b_dec_to_input", True):
        state["b_enc"] = state["b_enc"] + state["b_dec"] @ state["W_enc"]
    ours = (config.get("metadata") or {}).get("anysize") or {}
    nesting = Nesting.from_json(ours["nesting"]) if ours else None
    activation = (ours.get("config") or {}).get("activation") or _ARCHITECTURES[architecture]
    active = (ours.get("config") or {}).get("active") or config.get("k")
    sae = assembled(state, directory / WEIGHTS, activation=activation, active=active, nesting=nesting)
    sae.about = ours.get("about") or {"method": "saelens", "options": {}, "source": str(directory)}
    return sae


def assembled(
    state: dict[str, torch.Tensor],
    where: Path,
    *,
    activation: Activation,
    active: int | None,
    nesting: Nesting | None = None,
) -> SparseAutoencoder:
    """
    An autoencoder of raw inputs with these weights: W_enc (d, F), b_enc (F,), W_dec (F, d), b_dec (d,)[, threshold].

    Raises `CheckpointError`, naming the shapes found, if they do not fit together, if a value is not finite, or if
    `active` is no number of latents.
    """
    for name, value in state.items():
        # The sum of squares is infinite too where a value is so large that products of it would be.
        if not value.is_floating_point() or not bool(value.float().square().sum().isfinite()):
            raise CheckpointError(f"{where} holds values in {name} that are not finite floats; it may be damaged")
    if active is not None and (type(active) not in (int, float) or not 0 < active < math.inf):
        raise CheckpointError(f"{where} goes with k={active!r}; expected a number of latents, at least 1")
    if state["W_enc"].dim() != 2:
        raise CheckpointError(f"{where} holds W_enc of shape {tuple(state['W_enc'].shape)}; expected two axes")
    width, latents = state["W_enc"].shape
    shapes = {"W_enc": (width, latents), "b_enc": (latents,), "W_dec": (latents, width), "b_dec": (width,)}
    for name, shape in {**shapes, "threshold": (latents,)}.items():
        if name in state and tuple(state[name].shape) != shape:
            found = ", ".join(f"{key} {tuple(value.shape)}" for key, value in state.items())
            raise CheckpointError(f"{where} holds {found}; with W_enc as it is, {name} should be {shape}")
    if activation == "topk" and active is not None and active >= latents and nesting is None:
        activation, active = "relu", None
    nesting = nesting or Nesting(latents=(latents,))
    sae = SparseAutoencoder(nesting, width, activation=activation, latents=latents, active=active)
    with torch.no_grad():
        for name, value in state.items():
            getattr(sae, name).copy_(value.float())
    return sae.eval()


def check_width(encoder: torch.Tensor, config: Mapping[str, Any], where: Path) -> None:
    """Raise `CheckpointError` if a configuration names another width of its inputs than the weights (d, F) have."""
    if "d_in" in config and config["d_in"] != encoder.shape[0]:
        raise CheckpointError(
            f"{where} says d_in={config['d_in']!r} and the weights beside it read {encoder.shape[0]}; they belong to "
            "different autoencoders"
        )


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file. Raises `CheckpointError` if it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; copy the whole directory again") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); it may be damaged or cut short") from None


def expect(state: dict[str, torch.Tensor], names: list[str], where: Path) -> None:
    """Raise `CheckpointError` unless exactly these tensors are there, saying which are."""
    if set(state) != set(names):
        raise CheckpointError(f"{where} holds {', '.join(sorted(state))}; expected {', '.join(sorted(names))}")


def _architecture(sae: SparseAutoencoder) -> str:
    if sae.activation == "topk":
        return "topk" if (sae.active or 0) < sae.latents else "standard"
    return "standard" if sae.activation == "relu" else "jumprelu"


def _folded(sae: SparseAutoencoder, architecture: str) -> dict[str, torch.Tensor]:
    found = {
        "W_enc": sae.W_enc * sae.scale,
        "b_enc": sae.b_enc,
        "W_dec": sae.W_dec / sae.scale,
        "b_dec": sae.mean + sae.b_dec / sae.scale,
    }
    if architecture == "jumprelu":
        found["threshold"] = sae.threshold.clamp_min(0)
    return {name: value.detach().float().contiguous().clone() for name, value in found.items()}


def _modern(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of before version 6 with today's names."""
    config = {"architecture": "standard", **config}
    named = config.get("activation_fn_str", config.get("activation_fn"))
    k = (config.get("activation_fn_kwargs") or {}).get("k")
    if config["architecture"] == "standard" and named == "topk" and k is not None:
        config |= {"architecture": "topk", "k": k}
    return config
