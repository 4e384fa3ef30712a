"""Each kind of transformer that the pages name, as a sentence encoder: tapped, cut, saved, loaded at a depth."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import anysize as az
from anysize.text import NestedEncoder
from tests.conftest import WORDS, sentences

DEPTH, WIDTH = 3, 32
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
SHAPE = {
    "vocab_size": len(SPECIAL) + len(WORDS), "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    "initializer_range": 0.2,
}  # fmt: skip
DISTIL = {
    "vocab_size": SHAPE["vocab_size"], "dim": WIDTH, "n_layers": DEPTH, "n_heads": 4, "hidden_dim": 48,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip
KINDS = {
    "bert": (lambda: hf.BertConfig(**SHAPE), "cls"),
    "roberta": (lambda: hf.RobertaConfig(**SHAPE), "mean"),
    "xlm-roberta": (lambda: hf.XLMRobertaConfig(**SHAPE), "mean"),
    "mpnet": (lambda: hf.MPNetConfig(**SHAPE), "mean"),
    "distilbert": (lambda: hf.DistilBertConfig(**DISTIL), "mean"),
    "modernbert": (lambda: hf.ModernBertConfig(**SHAPE, cls_token_id=2, sep_token_id=3), "mean"),
    "qwen3": (lambda: hf.Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=8), "lasttoken"),
    "llama": (lambda: hf.LlamaConfig(**SHAPE), "lasttoken"),
}
TEXTS = [*sentences(3), "balan demer", " ".join(sentences(2, 4))]


def save_tokenizer(folder: Path) -> None:
    """Words and the special tokens around them, padded on the right."""
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate([*SPECIAL, *WORDS])}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    hf.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>",
    ).save_pretrained(str(folder))  # fmt: skip


def whole(transformer, folder: Path, pooling: str) -> SentenceTransformer:
    """A transformer with its pooling as sentence-transformers loads them."""
    transformer.save_pretrained(str(folder))
    save_tokenizer(folder)
    first = Transformer(str(folder), max_seq_length=32)
    return SentenceTransformer(modules=[first, Pooling(WIDTH, pooling_mode=pooling), Normalize()], device="cpu")


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    config, pooling = KINDS[request.param]
    torch.manual_seed(0)
    transformer = hf.AutoModel.from_config(config()).eval()
    for name, weight in transformer.named_parameters():
        if "norm" in name.lower() and weight.ndim == 1:  # as after training: a norm that is not the identity
            weight.data += 0.3 * torch.randn_like(weight)
    return transformer, pooling, tmp_path_factory.mktemp(request.param)


def test_a_size_is_the_model_that_was_built_with_so_many_layers(kind):
    transformer, pooling, folder = kind
    plain = whole(transformer, folder / "whole", pooling)
    encoder = NestedEncoder.from_pretrained(plain, layers=(1, 2, DEPTH), dims=(8, WIDTH))
    np.testing.assert_allclose(encoder.encode(TEXTS), plain.encode(TEXTS), atol=1e-5)
    together = encoder.encode(TEXTS, sizes=encoder.nesting)
    for layers in (1, 2):
        # Independently of our code: a configuration of that depth, given the weights that it has a place for.
        config = copy.deepcopy(transformer.config)
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
        small = hf.AutoModel.from_config(config).eval()
        weights = transformer.state_dict()
        small.load_state_dict({name: weights[name] for name in small.state_dict()})
        expected = whole(small, folder / f"layers{layers}", pooling).encode(TEXTS, convert_to_tensor=True)
        for dims in (8, WIDTH):
            cut = torch.nn.functional.normalize(expected[:, :dims], dim=-1).numpy()
            view = encoder.at(layers=layers, dims=dims)
            np.testing.assert_allclose(view.encode(TEXTS), cut, atol=1e-5)
            np.testing.assert_allclose(together[view.size], cut, atol=1e-5)


def test_what_is_cut_loads_without_us_and_what_is_saved_loads_at_a_depth(kind):
    transformer, pooling, folder = kind
    encoder = NestedEncoder.from_pretrained(
        whole(transformer, folder / "base", pooling), layers=(1, 2, DEPTH), dims=(8, WIDTH)
    )
    expected = encoder.at(layers=2, dims=8).encode(TEXTS)
    encoder.at(layers=2, dims=8).convert().save(str(folder / "cut"), create_model_card=False)
    alone = SentenceTransformer(str(folder / "cut"), device="cpu")
    assert alone[0].auto_model.config.num_hidden_layers == 2
    np.testing.assert_allclose(alone.encode(TEXTS), expected, atol=1e-5)
    encoder.save(folder / "saved")
    small = az.load(folder / "saved", layers=2, dims=8)
    assert small.encoder.depth == 2
    np.testing.assert_allclose(small.encode(TEXTS), expected, atol=1e-5)
