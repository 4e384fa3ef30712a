"""
ONNX with `MatMulNBits`, ONNX Runtime's operator for 2-, 4- and 8-bit weights: fast on any CPU, no anysize needed.

The operator wants a whole zero-point; a min-max code seldom has one. Its line w = scale * code + offset is therefore
split: the operator runs with the zero-point in the middle, and what is left of the offset, one number per row and
group, multiplies the sums of the inputs. That is exact, and far faster than the operator with float zero-points.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from anysize.core.errors import AnysizeError
from anysize.quantize.levels import levels
from anysize.quantize.stored import Stored, StoredLinear

if TYPE_CHECKING:
    from anysize.quantize.model import Quantized

CONTAINERS = (2, 4, 8)
BLOCKS = (128, 64, 32, 16)
ATOL = 1e-3


class OnnxLinear(nn.Module):
    """A linear layer as MatMulNBits computes it; it can only be exported, not run."""

    packed: torch.Tensor
    scale: torch.Tensor
    rest: torch.Tensor | None
    column_scale: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(self, part: StoredLinear, bits: int, accuracy: int) -> None:
        super().__init__()
        found = levels(part, bits)
        rows, features = found.codes.shape
        container = next(width for width in CONTAINERS if width >= found.width)
        groups = found.grid.scale.shape[1]
        block = _block(features // groups, part)
        blocks = -(-features // block)
        middle = 1 << (container - 1)
        self.attributes: dict[str, Any] = {
            "K": features,
            "N": rows,
            "bits": container,
            "block_size": block,
            "accuracy_level": accuracy,
        }
        padded = torch.full((rows, blocks * block), middle, dtype=torch.int32)
        padded[:, :features] = found.codes
        per = 8 // container
        shifts = torch.arange(per, dtype=torch.int32) * container
        packed = (padded.reshape(rows, blocks, block // per, per) << shifts).sum(-1)
        self.register_buffer("packed", packed.to(torch.uint8))
        scale = found.grid.scale  # (rows, groups): repeated for the blocks of each group
        self.register_buffer("scale", scale.repeat_interleave(-(-blocks // groups), dim=1).contiguous())
        rest = found.grid.offset + found.grid.scale * middle
        self.register_buffer("rest", rest.T.contiguous() if bool((rest != 0).any()) else None)
        self.register_buffer("column_scale", part.column_scale)
        self.register_buffer("bias", part.parts(bits)[1])
        self.groups = groups

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        x = inputs if self.column_scale is None else inputs / self.column_scale
        shape = [*x.shape[:-1], self.attributes["N"]]
        operands = (x, self.packed, self.scale)
        y: torch.Tensor = torch.onnx.ops.symbolic(
            "com.microsoft::MatMulNBits", operands, self.attributes, dtype=torch.float32, shape=shape, version=1
        )
        if self.rest is not None:
            y = y + x.unflatten(-1, (self.groups, -1)).sum(-1) @ self.rest
        return y if self.bias is None else y + self.bias


class OnnxTable(nn.Module):
    """A table with a byte a code: rows are looked up, then become floats."""

    def __init__(self, part: Stored, bits: int) -> None:
        super().__init__()
        found = levels(part, bits)
        self.register_buffer("codes", found.codes.to(torch.uint8))
        self.register_buffer("scale", found.grid.scale)
        self.register_buffer("offset", found.grid.offset)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(...) -> (..., features)."""
        codes, scale, offset = (torch.as_tensor(part)[ids] for part in (self.codes, self.scale, self.offset))
        parts = codes.float().unflatten(-1, (scale.shape[-1], -1))
        return (parts * scale[..., None] + offset[..., None]).flatten(-2)


class Graph(nn.Module):
    """Token ids and masks in, sentence vectors out."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """(rows, tokens) each -> (rows, dims)."""
        found: torch.Tensor = self.model(dict(zip(self.names, inputs, strict=True)))["sentence_embedding"]
        return found


def export_onnx(view: Quantized, directory: Path, *, accuracy: int = 0) -> None:
    """
    Write ``model.onnx`` and the tokenizer of a quantised sentence encoder at this view's size, and check it.

    `accuracy` is the operator's accuracy_level: 0 computes in float32, 4 in int8 (faster, less exact). Raises
    `AnysizeError` if the ``onnx`` extra is missing, the groups do not fit, or ONNX Runtime does not agree with us.
    """
    onnx, runtime = _libraries()
    model = view.extract().eval().to("cpu")
    if not hasattr(model, "tokenizer"):
        raise AnysizeError("only sentence encoders can be written as ONNX; use --format safetensors")
    swap(model, view, lambda part, bits: _exported(part, bits, accuracy))
    texts = ["a short text", "another one, of more words than the first has", "", "third"]
    inputs = {name: value for name, value in model.preprocess(texts).items() if isinstance(value, torch.Tensor)}
    names = list(inputs)
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Graph(model, names).eval(),
            tuple(inputs.values()),
            input_names=names,
            output_names=["sentence_embedding"],
            dynamic_shapes=(tuple({0: rows, 1: tokens} for _ in names),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(directory / "model.onnx"), external_data=False)
    onnx.checker.check_model(str(directory / "model.onnx"), full_check=False)
    model.tokenizer.save_pretrained(str(directory))
    (directory / "anysize-export.json").write_text(
        json.dumps({"format": "onnx", "size": dict(view.size), "inputs": names, "max_length": model.max_seq_length})
    )
    _check(runtime, directory, view, inputs, texts, 20 * ATOL if accuracy == 4 else ATOL)


def swap(model: nn.Module, view: Quantized, made: Any) -> None:
    """Put ``made(stored layer, bits)`` in place of the float layers of an extracted model, found by their names."""
    there = [name for name, _ in model.named_modules()]
    for name, part in view.layers().items():
        pieces = name.split(".")
        for start in range(len(pieces)):
            ending = ".".join(pieces[start:])
            found = [other for other in there if other == ending or other.endswith(f".{ending}")]
            if len(found) == 1:
                bits = view.size.bits if view.mixture is None else view.mixture[name]
                model.set_submodule(found[0], made(part, bits))
                break


def _exported(part: Stored, bits: int, accuracy: int) -> nn.Module:
    return OnnxLinear(part, bits, accuracy) if isinstance(part, StoredLinear) else OnnxTable(part, bits)


def _block(group: int, part: Stored) -> int:
    if part.scheme.group_size is None:
        return next((block for block in BLOCKS if group % block == 0), BLOCKS[-1])
    found = next((block for block in BLOCKS if group % block == 0), None)
    if found is None:
        raise AnysizeError(
            f"{part.name} has groups of {group}, and MatMulNBits needs multiples of 16; fit with --group-size 32"
        )
    return found


def _check(runtime: Any, directory: Path, view: Quantized, inputs: Any, texts: list[str], atol: float) -> None:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(directory / "model.onnx"), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        apart = float((torch.from_numpy(found) - view(texts)).abs().max())
    if not apart <= atol:
        raise AnysizeError(f"ONNX Runtime's vectors differ by up to {apart:.2g} from ours, so nothing was written")


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise AnysizeError("writing ONNX needs the 'onnx' extra: pip install 'anysize[onnx]'") from None
    return onnx, onnxruntime
