"""GGUF files run by llama.cpp itself. It computes with 8-bit activations, so it is near us, not equal."""

import numpy as np
import pytest
import torch
import xllamacpp

from anysize.core.sizes.nesting import Nesting
from anysize.quantize import CausalLM, Scheme
from anysize.quantize.model.making import finished, prepared
from tests.conftest import sentences

SCHEME = Scheme(symmetric=True, group_size=32)


def server(folder, *, embedding=False):
    given = xllamacpp.CommonParams()
    given.model.path = str(folder / "model.gguf")
    given.embedding, given.warmup = embedding, False
    given.n_parallel = given.cpuparams.n_threads = 1
    given.n_ctx = given.n_batch = given.n_ubatch = 64
    return xllamacpp.Server(given)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A random Llama of width 64 with a vocabulary of byte pairs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        sentences(100),
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    root = tmp_path_factory.mktemp("llama")
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>").save_pretrained(root)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(root)
    return root


def test_a_language_model(llama, tmp_path):
    model = finished(prepared(CausalLM.from_pretrained(llama), Nesting(bits=(2, 4)), bits=(4, 2), scheme=SCHEME))
    model.at(bits=4).export(tmp_path / "x", "gguf")
    text = sentences(1, seed=9)[0]
    ids = model.tokenizer(text)["input_ids"]
    asked = {"prompt": text, "n_predict": 1, "n_probs": 50, "temperature": 0.0, "cache_prompt": False}
    said = server(tmp_path / "x").handle_completions(asked)
    assert said["usage"]["prompt_tokens"] == len(ids)  # it cuts the text as we do
    (token,) = said["choices"][0]["logprobs"]["content"]
    theirs = {one["id"]: one["logprob"] for one in token["top_logprobs"]}
    with torch.no_grad():
        four, two = (torch.log_softmax(model.at(bits=b)(torch.tensor([ids]))[0, -1], -1) for b in (4, 2))
    apart = [max(abs(float(mine[place]) - value) for place, value in theirs.items()) for mine in (four, two)]
    assert apart[0] < 0.3, apart
    assert apart[0] < 0.2 * apart[1], apart


def test_a_sentence_encoder(made, tmp_path):
    model = made(Nesting(bits=(2, 4, 8)), modules="linear", scheme=SCHEME)
    texts = sentences(3)
    model.at(bits=4).export(tmp_path / "x", "gguf")
    said = server(tmp_path / "x", embedding=True).handle_embeddings({"input": texts, "model": "x"})
    theirs = np.array([one["embedding"] for one in said["data"]], np.float32)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    mine = {bits: (model.at(bits=bits).encode(texts) * theirs).sum(1) for bits in (2, 4)}
    assert (mine[4] > 0.97).all(), mine
    assert (1 - mine[4] < 0.2 * (1 - mine[2])).all(), mine
