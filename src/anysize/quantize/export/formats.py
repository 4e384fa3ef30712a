"""The formats that a quantised model can be written in, by the names under which `Quantized.exports` knows them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from anysize.core.engine_checks import Exported
from anysize.quantize.export.compressed import write_compressed
from anysize.quantize.export.floats import write_ordinary
from anysize.quantize.export.gguf import write_gguf
from anysize.quantize.export.onnx import write_onnx
from anysize.quantize.export.shared import export
from anysize.quantize.model.model import Quantized


def safetensors(view: Quantized, path: str | os.PathLike[str]) -> Exported:
    """The ordinary sentence-transformers or transformers model, with float weights."""
    done = export(view, path, "safetensors", write_ordinary)
    by = "SentenceTransformer" if done.format == "sentence-transformers" else "AutoModelForCausalLM.from_pretrained"
    return replace(done, how=f'{by}("{path}")')


def onnx(view: Quantized, path: str | os.PathLike[str], **options: Any) -> Exported:
    """ONNX with the codes; `options` are those of `write_onnx`."""
    done = export(view, path, "onnx", write_onnx, **options)
    return replace(done, how=f'onnxruntime.InferenceSession("{Path(path) / "model.onnx"}")')


def gguf(view: Quantized, path: str | os.PathLike[str]) -> Exported:
    """GGUF with the codes, for llama.cpp."""
    return replace(export(view, path, "gguf", write_gguf), how=f"llama.cpp: -m {Path(path) / 'model.gguf'}")


def compressed_tensors(view: Quantized, path: str | os.PathLike[str]) -> Exported:
    """The layout of compressed-tensors with the codes, for vLLM and transformers."""
    done = export(view, path, "compressed-tensors", write_compressed)
    return replace(done, how="transformers, sentence-transformers or vLLM, by its folder")
