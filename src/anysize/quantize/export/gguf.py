"""
GGUF, the file of llama.cpp: sentence encoders of the BERT kind and language models of the Llama kind.

Codes go into block types as they are (see `gguf_blocks`); only scales are rounded, to half precision, as all of GGUF's
are. What is not quantised stays in float32. `gguf_settings` and `gguf_words` say what else a file
holds, and what none can.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.core.errors import AnysizeError
from anysize.quantize.codes.scales import Grid
from anysize.quantize.export.gguf_blocks import Blocks, as_blocks
from anysize.quantize.export.gguf_settings import ARCHITECTURES, Bert, Decoder
from anysize.quantize.export.gguf_words import write_words
from anysize.quantize.export.llama_cpp import Reading, check
from anysize.quantize.export.shared import (
    Written,
    bits_of,
    embeds,
    homes,
    ids_of,
    prompt_notes,
    require_same,
    results_of,
)
from anysize.quantize.layers.grid_codes import GridCodes, levels, refuse_transformed

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized

FILE = "model.gguf"
ATOL = 2e-3
"""Half precision keeps 11 bits of a scale and an offset, each of which may be twice the largest weight."""


@dataclass(frozen=True)
class _Tensor:
    """A tensor under its name in the file: its floats, and its blocks if it is quantised."""

    name: str
    floats: np.ndarray
    blocks: Blocks | None


def write_gguf(view: Quantized, directory: Path) -> Written:
    """
    Write ``model.gguf`` and check it: every tensor as the library's reader decodes it, then the whole by llama.cpp.

    Raises `AnysizeError` for another kind of model, what no file can say, codes that no block type holds, a missing
    library, or a file with which llama.cpp does not give what we give.
    """
    gguf = _library()
    sentences, model = embeds(view), view.convert().eval().to("cpu")
    body = model[0].auto_model if sentences else model
    kind = str(body.config.model_type)
    if kind not in ARCHITECTURES or (kind == "bert") != sentences:
        raise AnysizeError(
            f"gguf can be written of {', '.join(ARCHITECTURES)} models, and this is {kind}; cut with --format onnx"
        )
    family = Bert(model, body) if sentences else Decoder(body, kind)
    tensors = _tensors(gguf, view, model, body, family, kind)
    notes = _write(gguf, directory / FILE, model, body, family, kind, tensors, coded=True)
    _read_back(gguf, directory / FILE, tensors)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        twin = Path(scratch) / FILE
        _write(gguf, twin, model, body, family, kind, tensors, coded=False)
        checks, told = check(directory / FILE, twin, _reading(model, family, sentences))
    types = Counter(tensor.blocks.kind for tensor in tensors if tensor.blocks is not None)
    said = {"architecture": ARCHITECTURES[kind].lower(), "types": dict(types)}
    return Written(said, tuple(checks), (*notes, *told, *prompt_notes(model, "gguf has no place for prompts")))


def _write(
    gguf: Any,
    file: Path,
    model: Any,
    body: Any,
    family: Bert | Decoder,
    kind: str,
    tensors: list[_Tensor],
    *,
    coded: bool,
) -> list[str]:
    writer = gguf.GGUFWriter(str(file), gguf.MODEL_ARCH_NAMES[getattr(gguf.MODEL_ARCH, ARCHITECTURES[kind])])
    writer.add_block_count(body.config.num_hidden_layers)
    writer.add_feed_forward_length(body.config.intermediate_size)
    writer.add_file_type(gguf.LlamaFileType.GUESSED if coded else gguf.LlamaFileType.ALL_F32)
    family.describe(gguf, writer)
    if isinstance(family, Bert):
        writer.add_token_type_count(body.config.type_vocab_size)
    notes = write_words(gguf, writer, model.tokenizer, body.config.vocab_size, sentences=isinstance(family, Bert))
    for tensor in tensors:
        if tensor.blocks is None or not coded:
            writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.floats))
        else:
            kind_of_blocks = gguf.GGMLQuantizationType[tensor.blocks.kind]
            writer.add_tensor(tensor.name, tensor.blocks.content, raw_dtype=kind_of_blocks)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return notes


def _tensors(gguf: Any, view: Quantized, model: Any, body: Any, family: Bert | Decoder, kind: str) -> list[_Tensor]:
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, ARCHITECTURES[kind]), body.config.num_hidden_layers)
    prefix = next(name for name, part in model.named_modules() if part is body)
    coded = {home.removeprefix(prefix).removeprefix("."): name for name, home in homes(view, model).items()}
    tied = bool(getattr(body.config, "tie_word_embeddings", False)) and not isinstance(family, Bert)
    found: list[_Tensor] = []
    for key, tensor in body.state_dict().items():
        target = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if "pooler" in key or (tied and key == "lm_head.weight"):
            continue  # sentence vectors are pooled from the tokens; a tied head is the table again
        if target is None:
            raise AnysizeError(f"gguf has no place for {key}; cut with --format onnx")
        order = family.order(key)
        value = tensor.detach().float()[: family.rows_kept(key)]
        value = value if order is None else value[order(value.shape[0])]
        name = coded.get(key.removesuffix(".weight")) if key.endswith(".weight") else None
        blocks = None
        if name is not None:
            part = view.layers()[name]
            refuse_transformed(part, "gguf")
            level = _cut_rows(levels(part, bits_of(view, name)), family.rows_kept(key))
            if order is not None:
                rows = order(part.rows)
                level = GridCodes(level.codes[rows], level.width, Grid(level.grid.scale[rows], level.grid.offset[rows]))
            blocks = as_blocks(level, part.name)
        found.append(_Tensor(target, value.numpy(), blocks))
    written = sum(tensor.blocks is not None for tensor in found)
    if written != len(coded):
        raise AnysizeError(f"gguf has a place for {written} of {len(coded)} quantised layers; use --format onnx")
    factors = None if isinstance(family, Bert) else family.frequency_factors()
    if factors is not None:
        found.append(_Tensor("rope_freqs.weight", factors.numpy(), None))
    return found


def _cut_rows(level: GridCodes, rows: int | None) -> GridCodes:
    return GridCodes(level.codes[:rows], level.width, Grid(level.grid.scale[:rows], level.grid.offset[:rows]))


def _read_back(gguf: Any, file: Path, tensors: list[_Tensor]) -> None:
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(str(file)).tensors}
    if found.keys() != {tensor.name for tensor in tensors} or len(found) != len(tensors):
        raise AnysizeError("the reader of gguf finds other tensors than were written, so nothing was written")
    for tensor in tensors:
        there = found[tensor.name]
        given = gguf.quants.dequantize(np.array(there.data), there.tensor_type).reshape(tensor.floats.shape)
        what = f"{tensor.name} as gguf's reader decodes it"
        require_same(torch.from_numpy(given), torch.from_numpy(tensor.floats), ATOL, what)


def _reading(model: Any, family: Bert | Decoder, sentences: bool) -> Reading:
    """Our side of the comparison."""
    limit = family.longest if isinstance(family, Bert) else int(family.config.max_position_embeddings)
    return Reading(
        limit=limit,
        special=tuple(model.tokenizer.get_added_vocab()),
        ids=lambda text: ids_of(model, text),
        results=lambda rows: results_of(model, rows, sentences=sentences),
        embeds=sentences,
        letter=int(model.tokenizer("a", add_special_tokens=False)["input_ids"][-1]),
    )


def _library() -> Any:
    try:
        import gguf
        import gguf.quants
    except ImportError:
        raise AnysizeError("writing gguf needs its library: pip install 'anysize[gguf]'") from None
    return gguf
