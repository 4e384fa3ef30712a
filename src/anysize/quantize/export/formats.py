"""The formats that a quantised model can be written in, by the names under which `Quantized.exports` knows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anysize.core.model.exported import Exported
from anysize.quantize.export.compressed import write_compressed
from anysize.quantize.export.gguf import write_gguf
from anysize.quantize.export.onnx import write_onnx
from anysize.quantize.export.shared import export, write_floats
from anysize.quantize.model.model import Quantized


def safetensors(view: Quantized, path: str | os.PathLike[str]) -> Exported:
    """The ordinary sentence-transformers or transformers model, with float weights."""
    said = export(view, path, "safetensors", lambda view, directory: write_floats(view, directory)[1])
    by = "SentenceTransformer" if said["model"] == "sentence-transformers" else "AutoModelForCausalLM.from_pretrained"
    return Exported(said["model"], f'{by}("{path}")')


def onnx(view: Quantized, path: str | os.PathLike[str], **options: Any) -> Exported:
    """ONNX with the codes; `options` are those of `write_onnx`."""
    export(view, path, "onnx", write_onnx, **options)
    return Exported("onnx", f'onnxruntime.InferenceSession("{Path(path) / "model.onnx"}")')


def gguf(view: Quantized, path: str | os.PathLike[str]) -> Exported:
    """GGUF with the codes, for llama.cpp."""
    export(view, path, "gguf", write_gguf)
    return Exported("gguf", f"llama.cpp: -m {Path(path) / 'model.gguf'}")


def compressed_tensors(view: Quantized, path: str | os.PathLike[str]) -> Exported:
    """The layout of compressed-tensors with the codes, for vLLM and transformers."""
    export(view, path, "compressed-tensors", write_compressed)
    return Exported("compressed-tensors", "transformers, sentence-transformers or vLLM, by its folder")
