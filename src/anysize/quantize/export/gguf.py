"""
GGUF, the file of llama.cpp: sentence encoders of the BERT kind and language models of the Llama kind.

Codes go into block types as they are (see `gguf_blocks`); only scales are rounded, to half precision, as all of GGUF's
are. What is not quantised stays in float32.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.core.errors import AnysizeError
from anysize.quantize.codes.scales import Grid
from anysize.quantize.export.gguf_blocks import as_blocks
from anysize.quantize.export.shared import bits_of, homes, require_same
from anysize.quantize.layers.grid_codes import Levels, levels, refuse_transformed

if TYPE_CHECKING:
    from anysize.quantize.model.model import Quantized

FILE = "model.gguf"
ARCHITECTURES = {"bert": "BERT", "llama": "LLAMA", "mistral": "LLAMA"}
ATOL = 2e-3
"""Half precision keeps 11 bits of a scale and an offset, each of which may be twice the largest weight."""


def write_gguf(view: Quantized, directory: Path) -> dict[str, Any]:
    """
    Write ``model.gguf`` and check it: every tensor as the library's reader decodes it against ours.

    Raises `AnysizeError` for another kind of model, codes that no block type holds, or a missing library.
    """
    gguf = _library()
    model = view.extract().eval().to("cpu")
    body = model[0].auto_model if hasattr(model, "preprocess") else model
    kind = str(body.config.model_type)
    if kind not in ARCHITECTURES:
        raise AnysizeError(
            f"gguf can be written of {', '.join(ARCHITECTURES)} models, and this is {kind}; cut with --format onnx"
        )
    architecture = getattr(gguf.MODEL_ARCH, ARCHITECTURES[kind])
    writer = gguf.GGUFWriter(str(directory / FILE), gguf.MODEL_ARCH_NAMES[architecture])
    _describe(gguf, writer, model, body, kind)
    names = gguf.get_tensor_name_map(architecture, body.config.num_hidden_layers)
    prefix = next(name for name, part in model.named_modules() if part is body)
    coded = {home.removeprefix(prefix).removeprefix("."): name for name, home in homes(view, model).items()}
    expected: dict[str, np.ndarray] = {}
    types: Counter[str] = Counter()
    for key, tensor in body.state_dict().items():
        target = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if target is None:
            if "pooler" in key:
                continue  # sentence vectors are pooled from the tokens
            raise AnysizeError(f"gguf has no place for {key}; cut with --format onnx")
        rows = _rows(body.config, key, kind)
        value = tensor.detach().float() if rows is None else tensor.detach().float()[rows(tensor.shape[0])]
        name = coded.get(key.removesuffix(".weight")) if key.endswith(".weight") else None
        expected[target] = value.numpy()
        if name is None:
            writer.add_tensor(target, np.ascontiguousarray(value.numpy()))
            continue
        part = view.layers()[name]
        refuse_transformed(part, "gguf")
        found = levels(part, bits_of(view, name))
        if rows is not None:
            order = rows(part.rows)
            found = Levels(found.codes[order], found.width, Grid(found.grid.scale[order], found.grid.offset[order]))
        blocks = as_blocks(found, part.name)
        types[blocks.kind] += 1
        writer.add_tensor(target, blocks.content, raw_dtype=gguf.GGMLQuantizationType[blocks.kind])
    if types.total() != len(coded):
        raise AnysizeError(f"gguf has a place for {types.total()} of {len(coded)} quantised layers; use --format onnx")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    _check(gguf, directory / FILE, expected)
    return {"architecture": ARCHITECTURES[kind].lower(), "types": dict(types)}


def _check(gguf: Any, file: Path, expected: dict[str, np.ndarray]) -> None:
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(str(file)).tensors}
    if found.keys() != expected.keys():
        raise AnysizeError("the reader of gguf finds other tensors than were written, so nothing was written")
    for name, value in expected.items():
        tensor = found[name]
        given = gguf.quants.dequantize(np.array(tensor.data), tensor.tensor_type).reshape(value.shape)
        require_same(torch.from_numpy(given), torch.from_numpy(value), ATOL, f"{name} as gguf's reader decodes it")


def _rows(config: Any, key: str, kind: str) -> Any:
    """In rotary attention llama.cpp turns neighbours, Hugging Face halves: the rows of q and k change places."""
    if kind == "bert" or not key.endswith(("q_proj.weight", "k_proj.weight")):
        return None
    heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads

    def order(rows: int) -> torch.Tensor:
        return torch.arange(rows).view(heads, 2, rows // heads // 2).transpose(1, 2).reshape(-1)

    return order


def _describe(gguf: Any, writer: Any, model: Any, body: Any, kind: str) -> None:
    config = body.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_file_type(gguf.LlamaFileType.GUESSED)
    if kind == "bert":
        pooling = {"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS}
        mode = getattr(model[1], "pooling_mode", None)
        mode = mode[0] if isinstance(mode, list | tuple) else mode
        if mode not in pooling:
            raise AnysizeError(
                f"gguf pools by {' or '.join(pooling)}, and this model by {mode}; cut with --format onnx"
            )
        after = [type(module).__name__ for module in list(model)[2:] if type(module).__name__ != "Normalize"]
        if after:
            raise AnysizeError(
                f"gguf ends with pooling, and this model has {', '.join(after)} after it, which cuts its dims; cut at "
                "the full dims, whose first coordinates are the smaller vectors, or with --format onnx"
            )
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_causal_attention(False)
        writer.add_pooling_type(pooling[mode])
        _word_pieces(gguf, writer, model.tokenizer, config)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
        writer.add_rope_freq_base(float(_rope_theta(config)))
        writer.add_vocab_size(config.vocab_size)
        _byte_pairs(gguf, writer, model.tokenizer, config)


def _rope_theta(config: Any) -> float:
    given = getattr(config, "rope_parameters", None) or {}
    if given.get("rope_type", "default") != "default":
        raise AnysizeError(f"gguf is written without rope scaling, and this model has {given['rope_type']}")
    return float(given.get("rope_theta", 10000.0))


def _word_pieces(gguf: Any, writer: Any, tokenizer: Any, config: Any) -> None:
    """A BERT vocabulary as llama.cpp wants it: beginnings of words marked, continuations bare."""
    byplace = {place: token for token, place in tokenizer.get_vocab().items()}
    special = set(tokenizer.all_special_ids)
    tokens, types = [], []
    for place in range(config.vocab_size):
        token = byplace.get(place, f"[PAD{place}]")
        marked = token[2:] if token.startswith("##") else token if place in special else f"\u2581{token}"
        tokens.append(marked.encode("utf-8"))
        types.append(gguf.TokenType.CONTROL if place in special else gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(config.type_vocab_size)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for name, place in (
        ("unk", tokenizer.unk_token_id),
        ("sep", tokenizer.sep_token_id),
        ("pad", tokenizer.pad_token_id),
        ("cls", tokenizer.cls_token_id),
        ("mask", tokenizer.mask_token_id),
    ):
        if place is not None and hasattr(writer, f"add_{name}_token_id"):
            getattr(writer, f"add_{name}_token_id")(place)


def _byte_pairs(gguf: Any, writer: Any, tokenizer: Any, config: Any) -> None:
    """A byte-level BPE vocabulary (GPT-2's rules); of any other, the file takes token ids alone."""
    found = json.loads(tokenizer.backend_tokenizer.to_str()) if hasattr(tokenizer, "backend_tokenizer") else {}
    before = found.get("pre_tokenizer") or {}
    if (found.get("model") or {}).get("type") != "BPE" or before.get("type") != "ByteLevel":
        writer.add_tokenizer_model("no_vocab")
        return
    byplace = {place: token for token, place in tokenizer.get_vocab().items()}
    special = set(tokenizer.all_special_ids)
    places = range(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([byplace.get(place, f"[PAD{place}]").encode("utf-8") for place in places])
    writer.add_token_types([gguf.TokenType.CONTROL if place in special else gguf.TokenType.NORMAL for place in places])
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in found["model"]["merges"]]
    writer.add_token_merges(merges)
    for name, place in (("bos", tokenizer.bos_token_id), ("eos", tokenizer.eos_token_id)):
        if place is not None:
            getattr(writer, f"add_{name}_token_id")(place)


def _library() -> Any:
    try:
        import gguf
        import gguf.quants
    except ImportError:
        raise AnysizeError("writing gguf needs its library: pip install 'anysize[gguf]'") from None
    return gguf
