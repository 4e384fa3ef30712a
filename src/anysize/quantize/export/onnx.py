"""
ONNX with `MatMulNBits`, ONNX Runtime's operator for 2-, 4- and 8-bit weights: fast on any CPU, no anysize needed.

The operator wants a whole zero-point; a min-max code seldom has one. Its line w = scale * code + offset is therefore
split: the operator runs with the zero-point in the middle, and what is left of the offset, one number per row and
group, multiplies the sums of the inputs. That is exact, and far faster than the operator with float zero-points.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from anysize.core.errors import AnysizeError
from anysize.quantize.export.onnx_runtime import batches, checked, made_up_ids
from anysize.quantize.export.shared import Written, bits_of, embeds, homes, prompt_notes
from anysize.quantize.layers.grid_codes import levels
from anysize.quantize.layers.stored import Stored, StoredLinear

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized

CONTAINERS = (2, 4, 8)
BLOCKS = (128, 64, 32, 16)
CLOSE, ROUNDED = 1e-3, 0.3
"""Largest relative distances of vectors or logits: with float32 sums, and with int8 sums, which round the inputs."""
SENTENCE, LOGITS = "sentence_embedding", "logits"
TRACED = ["a short text", "another one, of more words than the first has", "", "third"]


class OnnxLinear(nn.Module):
    """A linear layer as MatMulNBits computes it; it can only be exported, not run."""

    packed: torch.Tensor
    scale: torch.Tensor
    rest: torch.Tensor | None
    column_scale: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(self, part: StoredLinear, bits: int) -> None:
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
            "accuracy_level": 0,
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
    """Token ids and masks in, sentence vectors or logits out."""

    def __init__(self, model: Any, names: list[str], output: str) -> None:
        super().__init__()
        self.model, self.names, self.output = model, names, output

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """(rows, tokens) each -> (rows, dims) or (rows, tokens, vocabulary)."""
        given = dict(zip(self.names, inputs, strict=True))
        found: torch.Tensor = self.model(given)[self.output] if self.output == SENTENCE else self.model(**given).logits
        return found


def write_onnx(view: Quantized, directory: Path, *, accuracy: int = 4) -> Written:
    """
    Write ``model.onnx`` and the tokenizer of a quantised model at this view's size, and check it with ONNX Runtime.

    `accuracy` is the operator's accuracy_level: 4 sums in int8, which rounds the inputs of layers and is fast, 0 in
    float32. What is written is checked with float32 sums first, then as it will run. Raises
    `AnysizeError` if the ``onnx`` extra is missing, the groups do not fit, or ONNX Runtime does not agree with us.
    """
    onnx, runtime = _libraries()
    sentences, model = embeds(view), view.convert().eval().to("cpu")
    plain = copy.deepcopy(model)
    for name, home in homes(view, model).items():
        model.set_submodule(home, _exported(view.layers()[name], bits_of(view, name)))
    output = SENTENCE if sentences else LOGITS
    if sentences:
        inputs = {name: value for name, value in model.preprocess(TRACED).items() if isinstance(value, torch.Tensor)}
    else:
        model.config.use_cache = False
        inputs = made_up_ids(model, 4, 9)
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    with warnings.catch_warnings(), torch.no_grad(), _silent():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Graph(model, list(inputs), output).eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=(tuple({0: rows, 1: tokens} for _ in inputs),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    file = directory / "model.onnx"
    program.save(str(file), external_data=False)
    onnx.checker.check_model(str(file), full_check=False)
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(str(directory))
    asked = batches(plain, list(inputs), sentences=sentences)
    with torch.no_grad():
        expected = [Graph(plain, list(inputs), output)(*given.values()).numpy() for given in asked]
    checks = [checked(runtime, file, asked, expected, "float32 sums", CLOSE)]
    if accuracy:
        set_accuracy(file, accuracy)
        checks.append(checked(runtime, file, asked, expected, "int8 sums", ROUNDED))
    said = {"inputs": list(inputs), "output": output, "accuracy_level": accuracy}
    return Written(said, tuple(checks), prompt_notes(plain, "the graph takes token ids"))


def set_accuracy(file: Path, level: int) -> None:
    """Change how the MatMulNBits of a graph compute their sums: 4 in int8, 0 in float32."""
    import onnx

    graph = onnx.load(file)
    for node in graph.graph.node:
        for attribute in node.attribute if node.op_type == "MatMulNBits" else ():
            if attribute.name == "accuracy_level":
                attribute.i = level
    onnx.save(graph, file)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The exporter remarks on every operator of libraries that are not installed."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _exported(part: Stored, bits: int) -> nn.Module:
    return OnnxLinear(part, bits) if isinstance(part, StoredLinear) else OnnxTable(part, bits)


def _block(group: int, part: Stored) -> int:
    if part.scheme.group_size is None:
        return next((block for block in BLOCKS if group % block == 0), BLOCKS[-1])
    found = next((block for block in BLOCKS if group % block == 0), None)
    if found is None:
        raise AnysizeError(
            f"{part.name} has groups of {group}, and MatMulNBits needs multiples of 16; fit with --group-size 32"
        )
    return found


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime

        importlib.import_module("onnxscript")  # torch's exporter needs it
    except ImportError:
        raise AnysizeError("writing ONNX needs the 'onnx' extra: pip install 'anysize[onnx]'") from None
    return onnx, onnxruntime
