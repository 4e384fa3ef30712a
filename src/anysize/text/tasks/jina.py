"""
Reading the published layout of jina-embeddings-v3 (Sturua et al. 2024, arXiv 2409.10173) without running its code.

The published folder stores XLM-RoBERTa with rotary positions in the names of a custom class: attention fused in one
matrix, and under every matrix a stack of low-rank adapters, one slice a task. Here the base becomes the model that
transformers has of the same architecture, and each slice an adapter in the form of PEFT.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from anysize.backbones.huggingface import pretrained
from anysize.core.errors import CheckpointError, refused_as_damaged
from anysize.core.files import read_json

WEIGHTS = "model.safetensors"
TARGETS = ("word_embeddings", "token_type_embeddings", "q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2", "dense")
"""The modules that carry adapters, as PEFT's target_modules names them."""

_KEY = re.compile(
    r"roberta\.(?P<place>.+?)\.(?:parametrizations\.weight\.(?P<part>original|0\.lora_A|0\.lora_B)|(?P<plain>weight|bias))"
)
_LAYER = r"encoder\.layers\.(\d+)\."
_PLACES = {
    r"embeddings\.(word|token_type)_embeddings": r"embeddings.\1_embeddings",
    r"emb_ln": "embeddings.LayerNorm",
    _LAYER + r"mixer\.Wqkv": r"layers.\1.self_attn.{}_proj",
    _LAYER + r"mixer\.out_proj": r"layers.\1.self_attn.o_proj",
    _LAYER + r"mlp\.(fc[12])": r"layers.\1.mlp.\2",
    _LAYER + r"norm1": r"layers.\1.post_attention_layernorm",
    _LAYER + r"norm2": r"layers.\1.post_mlp_layernorm",
    r"pooler\.dense": "pooler.dense",
}
_CONFIG = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
    "initializer_range", "layer_norm_eps", "pad_token_id", "bos_token_id", "eos_token_id",
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What such a folder holds."""

    transformer: Any
    """`transformers.JinaEmbeddingsV3Model`, in evaluation mode."""
    tokenizer: Any
    dims: tuple[int, ...]
    """The sizes it was trained for; the full width alone if the folder names none."""
    prompts: dict[str, str] = field(default_factory=dict)
    """Task -> instruction before each text."""
    r: int = 4
    lora_alpha: float = 1.0
    lora_dropout: float = 0.0
    adapters: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    """Task -> weights as PEFT names them, ``layers.0.mlp.fc1.lora_A.weight``."""


def is_published_jina(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a model in this layout."""
    config = Path(folder) / "config.json"
    if not config.exists():
        return False
    values = read_json(config, "a model")
    return (
        isinstance(values, dict) and "lora_adaptations" in values and values.get("position_embedding_type") == "rotary"
    )


def read_published(folder: str | os.PathLike[str]) -> Published:
    """
    Read such a folder: config.json, model.safetensors and the tokenizer; none of its Python code is run.

    The base theta of the rotary positions is the one that the folder gives for use (20,000).
    Raises `CheckpointError`, naming it, for a tensor that is missing, unknown or of another shape.
    """
    from safetensors import SafetensorError, safe_open

    root = Path(folder)
    if not is_published_jina(root):
        raise CheckpointError(f"{root} is not in the published layout of jina-embeddings-v3 (see its config.json)")
    config = read_json(root / "config.json", "a model")
    tasks = list(config["lora_adaptations"] or [])
    base: dict[str, torch.Tensor] = {}
    adapters: dict[str, dict[str, torch.Tensor]] = {task: {} for task in tasks}
    try:
        with safe_open(root / WEIGHTS, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (an open file is no mapping)
                _place(key, file.get_tensor(key), base, adapters)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{root / WEIGHTS} cannot be read ({str(error).splitlines()[0]})") from None
    transformer = _build(config, base)
    _check_shapes(transformer, adapters, int(config["lora_rank"]))
    return Published(
        transformer,
        _tokenizer(root),
        tuple(config.get("matryoshka_dimensions") or (transformer.config.hidden_size,)),
        {task: str(text) for task, text in (config.get("task_instructions") or {}).items()},
        int(config["lora_rank"]),
        float(config["lora_alpha"]),
        float(config.get("lora_dropout_p") or 0),
        adapters,
    )


def _place(key: str, value: torch.Tensor, base: dict[str, Any], adapters: Mapping[str, dict[str, Any]]) -> None:
    """Put one published tensor under the names that transformers and PEFT have for it."""
    found = _KEY.fullmatch(key)
    names = _names(found["place"]) if found else []
    if found is None or not names:
        raise CheckpointError(f"the tensor {key} is none of jina-embeddings-v3's")
    if found["part"] in (None, "original"):
        for name, piece in zip(names, value.chunk(len(names)), strict=True):
            base[f"{name}.{found['plain'] or 'weight'}"] = piece.float()
        return
    if len(value) != len(adapters):
        raise CheckpointError(f"the tensor {key} holds {len(value)} adapters; config.json names {len(adapters)} tasks")
    letter = found["part"][-1]
    for own, one in zip(adapters.values(), value, strict=True):
        if "embeddings" in names[0]:
            # Published as (vocabulary, r) and (r, width), to be multiplied in this order; PEFT keeps both transposed.
            own[f"{names[0]}.lora_embedding_{letter}"] = one.T.float().contiguous()
            continue
        # The three matrices of attention share what reads the input; each has its own part of what writes the output.
        pieces = one.chunk(len(names)) if letter == "B" else [one] * len(names)
        for name, piece in zip(names, pieces, strict=True):
            own[f"{name}.lora_{letter}.weight"] = piece.float().clone()


def _names(place: str) -> list[str]:
    """What a published module is called in transformers: one name, three for fused attention, none if unknown."""
    for pattern, name in _PLACES.items():
        found = re.fullmatch(pattern, place)
        if found:
            new = found.expand(name)
            return [new.format(letter) for letter in "qkv"] if "{}" in new else [new]
    return []


def _build(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Any:
    from transformers import JinaEmbeddingsV3Config, JinaEmbeddingsV3Model

    known = {name: config[name] for name in _CONFIG if name in config}
    theta = float(config.get("rotary_emb_base", 10_000.0))
    model = JinaEmbeddingsV3Model(
        JinaEmbeddingsV3Config(**known, rope_parameters={"rope_type": "default", "rope_theta": theta}),
        add_pooling_layer=any(name.startswith("pooler.") for name in weights),
    )
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in expected.keys() | weights.keys():
        given = tuple(weights[name].shape) if name in weights else "missing"
        if given != expected.get(name):
            raise CheckpointError(f"{name} is {given}; config.json asks for {expected.get(name, 'no such tensor')}")
    model.load_state_dict(dict(weights))
    return model.eval()


def _check_shapes(transformer: Any, adapters: Mapping[str, Mapping[str, torch.Tensor]], r: int) -> None:
    """Raise `CheckpointError` unless each task adapts every matrix, in its shape, with rank r."""
    expected = {}
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Embedding):
            expected[f"{name}.lora_embedding_A"] = (r, module.num_embeddings)
            expected[f"{name}.lora_embedding_B"] = (module.embedding_dim, r)
        elif isinstance(module, torch.nn.Linear):
            expected[f"{name}.lora_A.weight"] = (r, module.in_features)
            expected[f"{name}.lora_B.weight"] = (module.out_features, r)
    for task, weights in adapters.items():
        for name, shape in expected.items():
            given = tuple(weights[name].shape) if name in weights else "missing"
            if given != shape:
                raise CheckpointError(f"the adapter {task} has {name} {given}; expected {shape}")


def _tokenizer(root: Path) -> Any:
    from transformers import AutoTokenizer

    with refused_as_damaged(f"the tokenizer in {root} cannot be read"):
        return pretrained(AutoTokenizer, root, local_files_only=True)
