"""LoRA on a language model that is made here: it learns to name the right number."""

from __future__ import annotations

import pytest
import torch
from recipes.coding_sample import CODES

from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.reranking.choosing import Reranker, training_rows
from anysize.coding.reranking.local import LocalModel
from anysize.core.errors import DataError

KNOWN = CodeDictionary.of(CODES)


@pytest.fixture(scope="module")
def model():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    spelled = "".join((*CODES, *CODES.values()))
    letters = sorted({*" 0123456789.:,\n", *spelled, *"abcdefghijklmnopqrstuvwxyzADCN"})
    words = {letter: place for place, letter in enumerate(["<end>", "<unk>", *letters])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    return LocalModel(LlamaForCausalLM(config), fast)


def test_it_learns_the_answers_and_only_adapters_change(model):
    rows, lacking = training_rows(KNOWN, [("t", "m", "K81", ["I10", "K81"])] * 8)
    assert lacking == 0
    before = {name: one.clone() for name, one in model.model.named_parameters()}
    losses = model.tune(rows, epochs=30, learning_rate=0.05, batch=8)
    assert losses[-1] < losses[0] - 0.2
    after = {name.replace("base_model.model.", "").replace(".base_layer", ""): one
             for name, one in model.model.named_parameters()}  # fmt: skip
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    reranker = Reranker(model, 2)
    reranker.choose(KNOWN, "t", "m", ["I10", "K81"])
    assert reranker.told.asked == 1
    assert reranker.told.chosen + reranker.told.nonsense == 1


def test_without_rows_there_is_nothing_to_tune(model):
    with pytest.raises(DataError, match="no row to tune"):
        model.tune([])
