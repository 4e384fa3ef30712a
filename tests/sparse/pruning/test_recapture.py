"""The loss of a language model through an autoencoder, on a small model made here."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from anysize.backbones.site import Site
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.sparse import SparseAutoencoder
from anysize.sparse.pruning.granularity import granularity_curve, recaptured
from anysize.sparse.pruning.recapture import LanguageModelLoss
from tests.conftest import WORDS, sentences


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("gpt")
    words = {word: number for number, word in enumerate(["<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>").save_pretrained(place)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(words), n_embd=16, n_layer=2, n_head=2, n_positions=32, initializer_range=0.5)
    GPT2LMHeadModel(config).save_pretrained(place)
    return place


def test_what_is_left_alone_is_the_plain_loss(gpt):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = [*sentences(20), "balan"]  # of differing length: the last has no next token
    loss = LanguageModelLoss(str(gpt), "h.0", texts)
    tokenizer, model = AutoTokenizer.from_pretrained(gpt), AutoModelForCausalLM.from_pretrained(gpt).eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            logs = model(ids).logits.log_softmax(-1)
            for place in range(1, ids.shape[1]):
                total -= float(logs[0, place - 1, ids[0, place]])
                count += 1
    assert loss(lambda rows: rows) == pytest.approx(total / count, rel=1e-4)
    assert loss(torch.zeros_like) != pytest.approx(total / count, rel=1e-3)


def test_a_perfect_dictionary_recaptures_everything(gpt):
    loss = LanguageModelLoss(str(gpt), "h.1", sentences(10))
    seen: list[torch.Tensor] = []
    loss(lambda rows: (seen.append(rows), rows)[1])
    x = torch.cat(seen).numpy()
    sae = SparseAutoencoder(Nesting(latents=(16, 32)), 16, activation="relu")
    with torch.no_grad():  # every direction and its opposite
        both = torch.cat([torch.eye(16), -torch.eye(16)])
        sae.W_enc.copy_(both.T)
        sae.W_dec.copy_(both)
    half, whole = granularity_curve(sae.eval(), x, (16, 32), loss=loss, rsa_rows=0)
    assert whole.recaptured == pytest.approx(1, abs=1e-3)
    assert half.recaptured == pytest.approx(recaptured(loss, [lambda rows: rows.clamp_min(0)])[0], abs=1e-4)
    assert whole.fvu == pytest.approx(0, abs=1e-6)
    assert np.isfinite(x).all()


def test_a_tokenizer_needs_no_token_to_pad_with(gpt, tmp_path):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    texts = sentences(6)
    tokenizer = AutoTokenizer.from_pretrained(gpt)
    wanted = LanguageModelLoss(str(gpt), "h.0", texts), Site(str(gpt), "h.0").rows(texts)
    bare = shutil.copytree(gpt, tmp_path / "bare")
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        (bare / name).unlink(missing_ok=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer).save_pretrained(bare)
    assert AutoTokenizer.from_pretrained(bare).pad_token is None
    assert LanguageModelLoss(str(bare), "h.0", texts)(torch.zeros_like) == pytest.approx(wanted[0](torch.zeros_like))
    np.testing.assert_allclose(Site(str(bare), "h.0").rows(texts), wanted[1], atol=1e-6)


def test_models_and_texts_that_will_not_do(gpt, tmp_path):
    with pytest.raises(AnysizeError, match="no module is called"):
        LanguageModelLoss(str(gpt), "layer.99", sentences(2))
    with pytest.raises(DataError, match="no two tokens"):
        LanguageModelLoss(str(gpt), "h.0", ["balan"])
    with pytest.raises(AnysizeError, match="cannot load"):
        LanguageModelLoss(str(tmp_path / "none"), "h.0", sentences(2))
