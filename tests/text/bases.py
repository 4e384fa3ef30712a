"""Tiny sentence-transformers models of many kinds, random, each with settings that a cut of it must not lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.conftest import WORDS, sentences

DEPTH, WIDTH = 2, 32
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
SHAPE: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS), "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    "initializer_range": 0.3,
}  # fmt: skip
DISTIL = {"vocab_size": SHAPE["vocab_size"], "dim": WIDTH, "n_layers": DEPTH, "n_heads": 4, "hidden_dim": 48,
          "max_position_embeddings": 40, "initializer_range": 0.3}  # fmt: skip
CONFIGS = {
    "bert": lambda: hf.BertConfig(**SHAPE),
    "distilbert": lambda: hf.DistilBertConfig(**DISTIL),
    "xlm-roberta": lambda: hf.XLMRobertaConfig(**SHAPE),
    "qwen3": lambda: hf.Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=8),
}
TEXTS = [*sentences(3), "balan demer", "", " ".join(sentences(2, 4)), " ".join(sentences(9, 5))]
QUERY, DOCUMENT, OTHER = f"{WORDS[3]} {WORDS[9]} ", f"{WORDS[40]} ", f"{WORDS[17]} {WORDS[33]} {WORDS[5]} "


@dataclass(frozen=True)
class Kind:
    """What a base is like."""

    architecture: str = "bert"
    pooling: Any = "mean"
    include_prompt: bool = True
    normalize: bool = True
    dense: int | None = None
    dtype: torch.dtype = torch.float32
    padding: str = "right"
    chat: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


SIDED = {"prompts": {"query": QUERY, "document": DOCUMENT}}
BY_DEFAULT = {"prompts": {"other": OTHER}, "default_prompt_name": "other"}
KINDS = {
    "plain": Kind(),
    "not-normalised": Kind(normalize=False),
    "sided": Kind("xlm-roberta", settings=SIDED),
    "default-prompt": Kind(normalize=False, settings=BY_DEFAULT),
    "all-prompts": Kind("distilbert", "max", settings={**BY_DEFAULT, "prompts": {**SIDED["prompts"], "other": OTHER}}),
    "truncated": Kind(settings={**SIDED, "truncate_dim": 16, "similarity_fn_name": "dot"}),
    "truncated-dense": Kind(normalize=False, dense=24, settings={"truncate_dim": 16}),
    "prompt-not-pooled": Kind(include_prompt=False, settings={**SIDED, "default_prompt_name": "query"}),
    "cls-prompt-not-pooled": Kind("bert", "cls", include_prompt=False, settings=BY_DEFAULT),
    "two-poolings": Kind("bert", ("cls", "weightedmean"), include_prompt=False, settings=SIDED),
    "decoder": Kind("qwen3", "lasttoken", padding="left", chat=True, settings=SIDED),
    "decoder-prompt-not-pooled": Kind("qwen3", "mean", include_prompt=False, padding="left", settings=SIDED),
    "dense": Kind("bert", "cls", dense=24, settings=BY_DEFAULT),
    "bfloat16": Kind("qwen3", "lasttoken", dtype=torch.bfloat16, padding="left", settings=SIDED),
    "float16": Kind("bert", dense=24, dtype=torch.float16, settings=SIDED),
    "float64": Kind("bert", dtype=torch.float64, settings=SIDED),
}
"""The bases of the matrix."""


def save_tokenizer(folder: Path, kind: Kind) -> None:
    """Words, and the special tokens around them."""
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate([*SPECIAL, *WORDS])}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>", padding_side=kind.padding,
    )  # fmt: skip
    if kind.chat:  # which the base, read as texts, does not use
        tokenizer.chat_template = "{% for message in messages %}balan {{ message['content'] }} demer{% endfor %}"
    tokenizer.save_pretrained(str(folder))


def make(kind: Kind, folder: Path, seed: int = 0) -> Path:
    """Write such a base as sentence-transformers saves it; gives its folder."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    hf.AutoModel.from_config(CONFIGS[kind.architecture]()).to(kind.dtype).eval().save_pretrained(str(folder / "raw"))
    save_tokenizer(folder / "raw", kind)
    texts = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    first = Transformer(
        str(folder / "raw"), max_seq_length=32, modality_config=texts, module_output_name="token_embeddings"
    )
    pooling = Pooling(WIDTH, pooling_mode=kind.pooling, include_prompt=kind.include_prompt)
    modules: list[Any] = [first, pooling]
    if kind.dense is not None:
        modules.append(Dense(pooling.get_embedding_dimension(), kind.dense, use_residual=True))
    if kind.normalize:
        modules.append(Normalize())
    torch.random.set_rng_state(state)
    SentenceTransformer(modules=modules, device="cpu", **kind.settings).save(
        str(folder / "base"), create_model_card=False
    )
    return folder / "base"


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows at unit length."""
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_side(model: Any, texts: list[str]) -> dict[str, np.ndarray]:
    """What a model of ours or of sentence-transformers gives, asked in each of three ways."""
    ways = {"": model.encode, "query": model.encode_query, "document": model.encode_document}
    return {side: np.asarray(encode(texts)) for side, encode in ways.items()}
