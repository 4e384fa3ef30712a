"""GGUF files run by llama.cpp itself, on texts that the export did not try, and what no file can say."""

import json
import random

import gguf
import numpy as np
import pytest
from benchmarks.quantize.gguf_exports import draw, run_again, tried
from benchmarks.quantize.tiny_models import (
    byte_pairs,
    language_model,
    sentence_encoder,
    sentence_pieces,
    whole_words,
    word_pieces,
)
from tokenizers import AddedToken
from transformers import BertConfig, LlamaConfig, MistralConfig, Qwen2Config

from anysize.core.child import run_child
from anysize.core.errors import AnysizeError
from anysize.quantize import Scheme
from anysize.quantize.export import gguf_settings, llama_cpp
from tests.conftest import tree

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
}
ROPE = {"rope_theta": 1000.0, "factor": 3.0, "original_max_position_embeddings": 32}
LLAMA3 = {**ROPE, "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that build the models


def llama(words=None, kind=LlamaConfig, extra=0, modules="*.mlp.down_proj", **settings):
    tokenizer = words or byte_pairs("gpt-2")
    size = max(tokenizer.get_vocab().values()) + 1 + extra
    config = {**SHAPE, "num_key_value_heads": 2, "vocab_size": size, **settings}
    return lambda folder: language_model(kind(**config), tokenizer, modules=modules)


def bert(extra=0, added=None, options=None, words=None, **settings):
    tokenizer = word_pieces(random.Random(0), **(words or {}))
    if added is not None:
        tokenizer.add_tokens([AddedToken("Zebra", **added)])
    config = {**SHAPE, "vocab_size": len(tokenizer) + extra, **settings}
    return lambda folder: sentence_encoder(BertConfig(**config), tokenizer, folder, **(options or {}))


SAID = {
    "special tokens anywhere in the vocabulary": bert(),
    "a cased vocabulary": bert(words={"lowercase": False}),
    "accents kept": bert(words={"strip_accents": False}),
    "pooling of the last token": bert(options={"pooling": "lasttoken"}),
    "pooling of the first, positions left out, rows without tokens": bert(
        options={"pooling": "cls", "length": 40}, extra=3, layer_norm_eps=0.05, type_vocab_size=1
    ),
    "an added token": bert(added={"normalized": False}),
    "biases, heads of another size, a tied head": llama(
        attention_bias=True, mlp_bias=True, head_dim=32, tie_word_embeddings=True, rms_norm_eps=0.05, extra=3
    ),
    "positions as in Llama 3": llama(rope_parameters=LLAMA3, words=byte_pairs("llama-bpe", begins=True)),
    "positions stretched": llama(rope_parameters={**ROPE, "rope_type": "linear"}, words=byte_pairs("smollm")),
    "Mistral within its window, bytes to fall back on": llama(
        words=sentence_pieces(), kind=MistralConfig, sliding_window=4096, head_dim=8
    ),
    "Qwen2": llama(words=byte_pairs("qwen2", ends=True), kind=Qwen2Config),
}


@pytest.mark.parametrize("name", SAID)
def test_what_a_file_can_say_runs_as_the_model_does(name, tmp_path):
    view = SAID[name](tmp_path)
    written = view.export(tmp_path / "x", "gguf")
    tokens, floats, codes = written.checks
    assert tokens.difference == 0
    assert floats.difference < (0.002 if "vectors" in floats.compared else 1e-5)
    assert codes.difference < 0.1
    assert sorted(tree(tmp_path / "x")) == ["anysize-export.json", "model.gguf"]
    assert run_again(tmp_path / "x" / "model.gguf", view) < 0.1
    old = "capitals" in " ".join(written.notes), "accents" in " ".join(written.notes)
    assert old == ("cased" in name, "cased" in name or "accents" in name)


UNSAID = {
    "the activation quick_gelu .*BERT with gelu": bert(hidden_act="quick_gelu"),
    "the activation gelu .*llama with silu": llama(hidden_act="gelu"),
    "pooling by max .*mean, cls, lasttoken": bert(options={"pooling": "max"}),
    "prompts that are read but left out": bert(
        options={"pools": {"include_prompt": False}, "prompts": {"query": "query: "}}
    ),
    "a BERT that is a decoder": bert(is_decoder=True),
    "does not put .CLS. before": bert(words={"template": "$A [SEP]"}),
    "WordPiece without ##": bert(words={"prefix": "@@"}),
    "keeps control characters": bert(words={"clean_text": False}),
    "added token 'Zebra', which is looked for after": bert(added={"normalized": True}),
    "added token 'Zebra', which is looked for as a whole": bert(added={"single_word": True, "normalized": False}),
    "a sliding window of 8 tokens": llama(kind=MistralConfig, sliding_window=8),
    "window of 16 tokens": llama(kind=Qwen2Config, use_sliding_window=True, sliding_window=16, max_window_layers=0),
    "positions scaled by yarn": llama(rope_parameters={**ROPE, "rope_type": "yarn"}),
    "positions of a qwen2 scaled as in Llama 3": llama(kind=Qwen2Config, rope_parameters=LLAMA3),
    "kind WordLevel, not BPE": llama(words=whole_words()),
    "a space put before": llama(words=byte_pairs("spaced")),
    "a token 300, where the table of words has 300 rows": llama(words=byte_pairs("gpt-2", size=301), extra=-1),
}


@pytest.mark.parametrize("words", UNSAID)
def test_what_no_file_can_say_is_refused_by_name(words, tmp_path):
    view = UNSAID[words](tmp_path)
    before = tree(tmp_path)
    with pytest.raises(AnysizeError, match=words) as refused:
        view.export(tmp_path / "x", "gguf")
    assert "--format onnx" in str(refused.value)
    assert tree(tmp_path) == before
    assert not (tmp_path / "x").exists()


def _as_it_is(monkeypatch):
    monkeypatch.setattr(gguf_settings.Decoder, "order", lambda self, key: None)


def _without(method):
    return lambda monkeypatch: monkeypatch.setattr(gguf.GGUFWriter, method, lambda self, *given: None)


def _always(method, value):
    real = getattr(gguf.GGUFWriter, method)
    return lambda monkeypatch: monkeypatch.setattr(gguf.GGUFWriter, method, lambda self, *given: real(self, value))


WRONGED = {
    "rows of q and k": (_as_it_is, llama(), "log-probabilities of .* away from the model"),
    "frequency": (_always("add_rope_freq_base", 10.0), llama(), "away from the model"),
    "scaling": (
        _always("add_rope_scaling_factor", 1.0),
        llama(rope_parameters={**ROPE, "rope_type": "linear"}),
        "away",
    ),
    "norm": (_always("add_layer_norm_rms_eps", 0.5), llama(), "away from the model"),
    "heads": (_without("add_key_length"), llama(head_dim=32), "cannot run what was written"),
    "words": (_always("add_tokenizer_pre", "llama-bpe"), llama(), "cuts .* into other tokens than the model's"),
    "begins": (_without("add_add_bos_token"), llama(words=byte_pairs("gpt-2", begins=True)), "other tokens"),
    "first id": (_without("add_bos_token_id"), bert(), "cannot run|other tokens"),
    "capitals": (_without("add_bool"), bert(words={"lowercase": False}), "other tokens"),
    "pooling": (_always("add_pooling_type", gguf.PoolingType.CLS), bert(), "vectors of .* away from the model"),
    "epsilon": (_always("add_layer_norm_eps", 0.5), bert(), "vectors of .* away from the model"),
    "no vocabulary": (_always("add_tokenizer_model", "no_vocab"), llama(), "cannot run .*SIGABRT: .*GGML_ASSERT"),
}


@pytest.mark.parametrize("name", WRONGED)
def test_whatever_is_written_wrong_is_noticed_and_nothing_is_left(name, tmp_path, monkeypatch):
    spoil, model, words = WRONGED[name]
    view = model(tmp_path)
    before = tree(tmp_path)
    spoil(monkeypatch)
    with pytest.raises(AnysizeError, match=words) as refused:
        view.export(tmp_path / "x", "gguf")
    assert "\n" not in str(refused.value)
    assert "nothing was written" in str(refused.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_another_activation_would_be_noticed_by_the_engine(activation, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_settings, "GELU", (activation,))
    with pytest.raises(AnysizeError, match=r"vectors of .* weights as floats: .* away from the model"):
        bert(hidden_act=activation)(tmp_path).export(tmp_path / "x", "gguf")


def test_an_engine_that_does_not_end_is_stopped(tmp_path):
    program = tmp_path / "sleeps.py"
    program.write_text("import time; time.sleep(60)")
    with pytest.raises(AnysizeError, match=r"the engine did not end within 1 s, so nothing was written"):
        run_child(program, [], "the engine", timeout=0.6)


@pytest.mark.parametrize("seed", [0, 4, 7, 12, 15, 21])
def test_random_models_are_exported_right_or_refused_by_name(seed, tmp_path):
    outcome, reason = tried(draw(seed), tmp_path)
    assert outcome in ("exported", "refused by name"), reason


def test_without_the_engine_it_says_so_and_how_to_install_it(made, tmp_path, monkeypatch, anysize):
    made(scheme=Scheme(symmetric=True)).save(tmp_path / "q")
    monkeypatch.setattr(llama_cpp, "version_of", lambda package: None)
    given = ("cut", tmp_path / "q", "--size", "bits=4", "--format", "gguf", "--out", tmp_path / "x")
    said = anysize(*given)
    assert said.status == 0, said
    assert "not checked, since llama.cpp is not installed; pip install xllamacpp, then write it again" in said.out
    (check,) = anysize(*given, "--json").json["checks"]
    assert check == {"checked": False, "engine": "llama.cpp", "install": "pip install xllamacpp"}


def test_the_verb_prints_what_was_checked(made, tmp_path, anysize):
    made(scheme=Scheme(symmetric=True)).save(tmp_path / "q")
    given = ("cut", tmp_path / "q", "--size", "bits=4", "--format", "gguf", "--out", tmp_path / "x")
    lines = anysize(*given).out.splitlines()
    assert lines[0].endswith(f"load it with llama.cpp: -m {tmp_path}/x/model.gguf")
    assert lines[1].startswith("smaller: files ")
    assert lines[2].startswith("checked by llama.cpp (xllamacpp)")
    assert lines[2].endswith("tokens of 15 texts: the same")
    told = anysize(*given, "--json").json
    assert [check["bound"] for check in told["checks"]] == [0, llama_cpp.VECTORS, llama_cpp.CODES]
    kept = json.loads((tmp_path / "x" / "anysize-export.json").read_text())
    assert kept["checks"] == told["checks"]


def test_all_layers_in_codes_are_as_near_as_eight_bit_inputs_allow(tmp_path):
    view = llama(modules="linear", attention_bias=True)(tmp_path)
    *_, codes = view.export(tmp_path / "x", "gguf").checks
    four = view.at(bits=4)
    four.export(tmp_path / "x", "gguf")
    assert codes.difference < 0.15
    # The file is that of its own width: it is nearer to it than the other width is.
    assert run_again(tmp_path / "x" / "model.gguf", four) < 0.2
    assert run_again(tmp_path / "x" / "model.gguf", view) > 0.2


def test_texts_longer_than_the_model_reads_are_left_to_the_engine_to_refuse(tmp_path):
    bert(options={"length": 16})(tmp_path).export(tmp_path / "x", "gguf")
    reader = gguf.GGUFReader(str(tmp_path / "x" / "model.gguf"))
    assert reader.get_field("bert.context_length").contents() == 16
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    assert shapes["position_embd.weight"] == [64, 16]


def test_frequencies_of_llama_3_are_those_of_transformers(tmp_path):
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(**SHAPE, num_key_value_heads=2, rope_parameters=LLAMA3)
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1000.0 ** -(np.arange(0, 16, 2) / 16)
    body = type("Body", (), {"config": config})
    mine = gguf_settings.Decoder(body, "llama").frequency_factors()
    np.testing.assert_allclose(plain / mine.numpy(), theirs.numpy(), rtol=1e-5)
