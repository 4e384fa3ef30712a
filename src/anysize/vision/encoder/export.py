"""
A size of an image encoder in others' formats: ONNX with all of it, or timm and transformers with the head beside it.

What RASA takes out, and the head, stand after the tower's last normalisation, which they cannot pass; neither library
has a place for a layer there. In ONNX they are part of the graph. In timm's the head over a picture's vector is the
model's classifier; what is for patches lies in ``patches.safetensors``, as one matrix.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from anysize.backbones.huggingface import pretrained
from anysize.backbones.vision.towers import library_of
from anysize.core.engine_checks import Check, Exported, NotChecked, apart, version_of
from anysize.core.errors import AnysizeError
from anysize.core.files import new_directory, write_bytes, write_json
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.quiet import quiet
from anysize.vision.encoder.model import ImageEncoder

BOUND = 1e-4
"""How far vectors of the written model may be from ours, relative to their length."""


class Graph(nn.Module):
    """Pixels from 0 to 1 in, unit vectors of a picture and of its patches out, at one size."""

    mean: torch.Tensor
    spread: torch.Tensor
    head: torch.Tensor
    patch_head: torch.Tensor

    def __init__(self, view: ImageEncoder) -> None:
        super().__init__()
        self.tower = view.tower
        self.register_buffer("mean", torch.tensor(view.tower.spec["mean"]).view(3, 1, 1))
        self.register_buffer("spread", torch.tensor(view.tower.spec["std"]).view(3, 1, 1))
        self.register_buffer("head", vector_rows(view))
        self.register_buffer("patch_head", patch_rows(view))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 3, side, side) to (n, dims) and (n, rows, columns, dims)."""
        seen = self.tower((pixels - self.mean) / self.spread)
        return (
            functional.normalize(seen.pooled @ self.head.T, dim=-1),
            functional.normalize(seen.patches @ self.patch_head.T, dim=-1),
        )


def vector_rows(view: ImageEncoder) -> torch.Tensor:
    """(dims, width): what the vector of a picture is multiplied by at the view's size."""
    dims, width = view.size.dims, view.tower.width
    return torch.eye(width)[:dims] if view.weight is None else view.weight[:dims].detach().cpu().clone()


def patch_rows(view: ImageEncoder) -> torch.Tensor:
    """(dims, width): the same of a patch, behind what takes its position out."""
    rows = vector_rows(view)
    return rows if view.flat is None else rows @ view.flat.detach().cpu()


def onnx(view: ImageEncoder, path: str | os.PathLike[str]) -> Exported:
    """
    ``model.onnx``: pixels (n, 3, side, side) from 0 to 1 -> ``vectors`` and ``patches``, both of unit length.

    Raises `AnysizeError` if onnx is not installed, or the graph gives other values.
    """
    for package in ("onnx", "onnxscript"):
        if version_of(package) is None:
            raise AnysizeError(f'{package} is not installed; pip install "anysize[onnx]"')
    side, graph = view.tower.side, Graph(view).eval()
    example = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with new_directory(path, marker=EXPORT) as directory:
        file = directory / "model.onnx"
        with quiet(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph, (example,), str(file), dynamo=True, external_data=False, input_names=["pixels"],
                output_names=["vectors", "patches"], dynamic_shapes=({0: torch.export.Dim("n")},), verbose=False,
            )  # fmt: skip
        check: Check | NotChecked = NotChecked("ONNX Runtime", 'pip install "anysize[onnx]"')
        if version_of("onnxruntime") is not None:
            from onnxruntime import InferenceSession

            # Three pictures, not the two that the graph was traced with.
            given = torch.cat([example, example[:1].flip(3)])
            said = InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, {"pixels": given.numpy()})
            with torch.no_grad():
                mine = graph(given)
            far = max(apart(theirs, ours.numpy()) for theirs, ours in zip(said, mine, strict=True))
            compared = "vectors and patches of 3 pictures"
            check = Check("ONNX Runtime", version_of("onnxruntime") or "", compared, far, BOUND)
        note = f"it takes pictures of {side} x {side} pixels with values from 0 to 1, and normalises them itself"
        how = f'onnxruntime.InferenceSession("{os.path.join(path, "model.onnx")}")'
        return _done(directory, view, Exported("ONNX", (check,), (note,), how))


def timm(view: ImageEncoder, path: str | os.PathLike[str]) -> Exported:
    """A folder that timm opens as ``local-dir:``, whose classifier is the head. Raises `AnysizeError`."""
    if view.tower.spec["library"] != "timm":
        raise AnysizeError(
            f"this tower is one of {view.tower.spec['library']} and cannot be written for timm; write "
            f"{'transformers or ' if view.tower.spec['library'] == 'transformers' else ''}onnx"
        )
    with new_directory(path, marker=EXPORT) as directory:
        _write_timm(view, directory)
        again = library_of("timm").create_model(f"local-dir:{directory}", pretrained=True).eval()
        check = _checked_head(view, "timm", again)
        how = f'timm.create_model("local-dir:{path}", pretrained=True)'
        return _done(directory, view, Exported("timm", (check,), (_LENGTH, *_patches(directory, view)), how))


def transformers(view: ImageEncoder, path: str | os.PathLike[str]) -> Exported:
    """
    A folder of transformers with the tower, and the head beside it; of a tower of timm, as what transformers wraps.

    Raises `AnysizeError` for a tower of torchvision.
    """
    from transformers import AutoModel, AutoModelForImageClassification

    library = view.tower.spec["library"]
    if library not in ("timm", "transformers"):
        raise AnysizeError(f"this tower is one of {library} and cannot be written for transformers; write onnx")
    with new_directory(path, marker=EXPORT) as directory, quiet():
        if library == "timm":
            _write_timm(view, directory)
            wrapped = pretrained(AutoModelForImageClassification, directory, dtype=torch.float32).eval()
            check = _checked_head(view, "transformers", lambda pixels: wrapped(pixel_values=pixels).logits)
            notes, how = (_LENGTH,), f'AutoModelForImageClassification.from_pretrained("{path}")'
        else:
            net: Any = view.tower.net
            net.save_pretrained(str(directory))
            again = pretrained(AutoModel, directory, dtype=torch.float32).eval()
            with torch.no_grad():
                pixels = _pixels(view)
                mine, theirs = (one(pixel_values=pixels).last_hidden_state for one in (net, again))
            far = apart(theirs.flatten(1), mine.flatten(1))
            check = Check("transformers", version_of("transformers") or "", "tokens of 2 pictures", far, BOUND)
            write_bytes(directory / "head.safetensors", _packed(vector_rows(view)))
            plain = mine.dim() == 3 and mine.shape[1] == view.tower.grid[0] * view.tower.grid[1]
            pooled = "mean((2, 3))" if mine.dim() == 4 else "mean(1)" if plain else "[:, 0]"
            tokens = f"last_hidden_state{pooled if pooled[0] == '[' else '.' + pooled}"
            said = f'the head is "weight" in head.safetensors, (dims, width): vectors are {tokens} @ weight.T'
            notes, how = (said,), f'AutoModel.from_pretrained("{path}")'
        return _done(directory, view, Exported("transformers", (check,), (*notes, *_patches(directory, view)), how))


_LENGTH = "its output is not brought to unit length yet"


def _write_timm(view: ImageEncoder, directory: Path) -> None:
    """The files of a model of timm whose classifier is the head. Raises `AnysizeError` where it has none."""
    from safetensors.torch import save

    spec, library = view.tower.spec, library_of("timm")
    net: Any = library.create_model(spec["name"], num_classes=view.size.dims, **spec["args"])
    own = view.tower.net.state_dict()
    state = {**net.state_dict(), **own}
    heads = [name for name in state if name not in own]
    rows, bias = sorted(heads, key=lambda name: -state[name].dim()) if len(heads) == 2 else ("", "")
    if not rows or state[rows].dim() != 2:
        raise AnysizeError(f"timm's {spec['name']} has no linear classifier; write onnx")
    state[rows], state[bias] = vector_rows(view), torch.zeros(view.size.dims)
    write_bytes(directory / "model.safetensors", save({name: one.contiguous() for name, one in state.items()}))
    shown = {
        "input_size": [3, spec["side"], spec["side"]], "mean": spec["mean"], "std": spec["std"],
        "crop_pct": spec["crop"], "interpolation": "bicubic", "classifier": rows.rpartition(".")[0],
        "num_classes": view.size.dims,
    }  # fmt: skip
    named = {"architecture": spec["name"], "num_classes": view.size.dims, "num_features": view.tower.width}
    write_json(directory / "config.json", {**named, "model_args": spec["args"], "pretrained_cfg": shown})


def _checked_head(view: ImageEncoder, engine: str, again: Callable[[torch.Tensor], Any]) -> Check:
    """Whether what was written gives our vectors before they are of unit length."""
    pixels = _pixels(view)
    with torch.no_grad():
        far = apart(again(pixels).numpy(), (view.tower(pixels).pooled @ vector_rows(view).T).numpy())
    return Check(engine, version_of(engine) or "", "vectors of 2 pictures", far, BOUND)


def _pixels(view: ImageEncoder) -> torch.Tensor:
    return torch.randn(2, 3, view.tower.side, view.tower.side, generator=torch.Generator().manual_seed(0))


def _patches(directory: Path, view: ImageEncoder) -> tuple[str, ...]:
    if view.flat is None:
        return ()
    write_bytes(directory / "patches.safetensors", _packed(patch_rows(view)))
    return ('patch tokens without position are tokens @ weight.T, of "weight" in patches.safetensors, (dims, width)',)


def _packed(rows: torch.Tensor) -> bytes:
    from safetensors.torch import save

    content: bytes = save({"weight": rows.contiguous()})
    return content


def _done(directory: Path, view: ImageEncoder, exported: Exported) -> Exported:
    write_note(directory, exported.format, {"size": view.size.to_json()}, exported)
    return exported
