"""Tiny language models of three architectures, made on the spot: tensors and tuples, rotary, learned and no places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from anysize.editing.requests.request import EditRequest

PROMPT = "Where was Ada Berg born?"
TARGET = "Ada Berg was born in the old harbour town of Lund, where her father built boats. She left it at nine."
OTHER = EditRequest(
    "What does Ole Lind do?", "Ole Lind keeps bees near the river and sells honey at the market.", id="1"
)
FIRST = EditRequest(PROMPT, TARGET, ("In which town was Ada Berg born?",), ("Who wrote the letter?",), id="0")
TEMPLATE = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"


def byte_pairs(chat: bool) -> PreTrainedTokenizerFast:
    """Learnt from the texts above, so that tokens are pieces of words and merge across spaces."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    made.train_from_iterator([PROMPT, TARGET, OTHER.prompt, OTHER.target_new] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")
    fast.chat_template = TEMPLATE if chat else None
    return fast


def tiny(kind: str, seed: int = 0) -> torch.nn.Module:
    """A random model of four blocks of width 32."""
    torch.manual_seed(seed)
    common = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1}
    if kind == "llama":
        config = LlamaConfig(
            hidden_size=32, intermediate_size=192, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=128, initializer_range=0.2, tie_word_embeddings=True, **common,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(n_embd=32, n_layer=4, n_head=4, n_positions=128, initializer_range=0.2, **common)
        ).eval()
    return BloomForCausalLM(
        BloomConfig(hidden_size=32, n_layer=4, n_head=4, initializer_range=0.2, pad_token_id=1, **common)
    ).eval()


def write_edits(folder: Path) -> None:
    """A tiny chat model in ``LM``, and ``edits.jsonl`` with two edits, numbered from 1."""
    tiny("llama").save_pretrained(str(folder / "LM"))
    byte_pairs(chat=True).save_pretrained(str(folder / "LM"))
    rows = [{"prompt": one.prompt, "target_new": one.target_new} for one in (FIRST, OTHER)]
    (folder / "edits.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


ARCHITECTURES = ("llama", "gpt2", "bloom")


@pytest.fixture(params=ARCHITECTURES)
def lm(request):
    return tiny(request.param)


@pytest.fixture(scope="session")
def tokenizer():
    return byte_pairs(chat=False)


@pytest.fixture(scope="session")
def chatty():
    return byte_pairs(chat=True)
