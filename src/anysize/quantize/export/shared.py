"""
A quantised model at one size, written for other engines: floats, ONNX, GGUF or compressed-tensors.

Every file is read back with the engine itself or its own reader before it takes its place, and must give what we give.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from anysize.core.errors import AnysizeError
from anysize.core.files import new_directory, write_json
from anysize.quantize.layers.choosing import stacks

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized

MARKER = "anysize-export.json"


def export(
    view: Quantized, path: str | os.PathLike[str], form: str, write: Callable[..., dict[str, Any]], **options: Any
) -> dict[str, Any]:
    """
    Write `view` at its size to the folder `path` by `write`; returns what ``anysize-export.json`` there says.

    `options` are those of `write`. Raises `AnysizeError` for a format that cannot hold these codes (it says which
    option or format would), one whose library is not installed, or a file that does not give what we give; then
    nothing is written.
    """
    with new_directory(path, marker=MARKER) as directory:
        widths = dict(view.size) if view.mixture is None else {**view.size, "bits": dict(view.mixture)}
        said = {
            "format": form,
            "size": widths,
            "slice_mode": view.plan.scheme.mode,
            "fingerprint": view.fingerprint,
            **write(view, directory, **options),
        }
        write_json(directory / MARKER, said)
    return said


def write_floats(view: Quantized, directory: Path) -> tuple[Any, dict[str, Any]]:
    """The ordinary model with float weights in `directory`; returns it, and what it is."""
    from anysize.core.quiet import quiet

    model = view.extract()
    with quiet():
        if hasattr(model, "modules") and hasattr(model, "encode"):
            model.save(str(directory), create_model_card=False)
            return model, {"model": "sentence-transformers"}
        if hasattr(model, "save_pretrained"):
            model.save_pretrained(str(directory))
            if model.tokenizer is not None:
                model.tokenizer.save_pretrained(str(directory))
            return model, {"model": "transformers"}
    raise AnysizeError(f"a model of kind {view.kind!r} has no format of another library")


def bits_of(view: Quantized, name: str) -> int:
    """The width at which a layer runs in a view."""
    return int(view.size["bits"]) if view.mixture is None else view.mixture[name]


def homes(view: Quantized, model: nn.Module) -> dict[str, str]:
    """Layer of `view` -> module of an extracted model that stands for it; layers below a cut in depth have none."""
    found: dict[str, str] = {}
    (ours,), (theirs,) = list(stacks(view.inner)), list(stacks(model))
    there = [name for name, _ in model.named_modules()]
    for name in view.layers():
        if name.startswith(f"{ours}."):
            home = theirs + name.removeprefix(ours)
            if home in there:
                found[name] = home
            continue
        pieces = name.split(".")
        for start in range(len(pieces)):  # the longest ending that is there decides
            ending = ".".join(pieces[start:])
            same = [other for other in there if other == ending or other.endswith(f".{ending}")]
            if same:
                found[name] = same[0]
                break
    return found


def require_same(found: torch.Tensor, expected: torch.Tensor, atol: float, what: str) -> float:
    """How far two tensors are apart, relative to the largest value. Raises `AnysizeError` if above `atol`."""
    apart = float((found.float() - expected.float()).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not apart <= atol:
        raise AnysizeError(f"{what} differs by up to {apart:.2g} of the largest value, so nothing was written")
    return apart
