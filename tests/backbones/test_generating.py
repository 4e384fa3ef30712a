from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BloomConfig, BloomForCausalLM, GPT2Config, GPT2LMHeadModel

from anysize.backbones.causal import CausalLM
from anysize.backbones.generating import continued
from anysize.core.errors import AnysizeError
from anysize.core.model.faces import Generates
from anysize.core.sizes.nesting import Nesting
from anysize.quantize.model.making import finished, prepared
from tests.conftest import sentences

PROMPTS = [*sentences(5), "balan", "balan", ""]
SHAPE = {"vocab_size": 40, "n_layer": 2, "n_head": 2}


def greedy(row, logits):
    return int(logits.argmax())


def theirs(lm, ids, most, **options):
    """What transformers' own `generate` adds to a row of token ids."""
    row = torch.tensor([ids])
    with torch.no_grad():
        found = lm.generate(row, attention_mask=torch.ones_like(row), max_new_tokens=most, do_sample=False, **options)
    return found[0, len(ids) :].tolist()


def some_ids(seed=0, vocabulary=40):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in (9, 1, 4, 6)]


@pytest.mark.parametrize("kind", ["learnt places", "distances alone"])
def test_a_batch_padded_on_the_left_gives_what_transformers_gives_row_by_row(kind):
    torch.manual_seed(0)
    if kind == "learnt places":
        lm = GPT2LMHeadModel(GPT2Config(n_embd=16, n_positions=32, bos_token_id=1, eos_token_id=2, **SHAPE))
    else:
        lm = BloomForCausalLM(BloomConfig(hidden_size=16, bos_token_id=1, eos_token_id=2, pad_token_id=0, **SHAPE))
    lm.eval()
    with torch.no_grad():
        for weight in lm.parameters():
            weight.mul_(4)  # sure enough of itself that rounding decides nothing
    prompts = some_ids()
    found = continued(lm, prompts, greedy, most=12, ends=set())
    for ids, new in zip(prompts, found, strict=True):
        assert new == theirs(lm, ids, 12, eos_token_id=None, pad_token_id=0)
    end = found[0][5]
    shorter = continued(lm, prompts, greedy, most=12, ends={end})
    for whole, cut in zip(found, shorter, strict=True):
        assert cut == (whole[: whole.index(end)] if end in whole else whole)


@pytest.fixture(scope="module")
def lm(lm_path):
    return CausalLM.from_pretrained(lm_path)


def test_a_text_is_gone_on_with_as_transformers_does(lm, lm_path):
    reference, tokenizer = AutoModelForCausalLM.from_pretrained(lm_path), AutoTokenizer.from_pretrained(lm_path)
    assert isinstance(lm, Generates)
    found = lm.generate(PROMPTS, max_new_tokens=10, batch_size=3)
    assert found == lm.run(PROMPTS, side="query", max_new_tokens=10, batch_size=8)
    for prompt, text in zip(PROMPTS[:-1], found, strict=False):
        new = theirs(reference, tokenizer(prompt)["input_ids"], 10, pad_token_id=0)
        assert text == tokenizer.decode(new, skip_special_tokens=True)
        assert lm.generate([prompt], max_new_tokens=10) == [text]
    assert isinstance(found[-1], str)
    word = found[0].split()[2]
    assert lm.generate(PROMPTS[:1], max_new_tokens=10, stop=["nothing", word]) == [found[0][: found[0].index(word)]]


def test_what_is_drawn_for_a_text_depends_on_the_seed_and_on_it_alone(lm):
    drawn = lm.generate(PROMPTS, max_new_tokens=8, temperature=1.5, seed=3)
    assert drawn == lm.generate(PROMPTS, max_new_tokens=8, temperature=1.5, seed=3, batch_size=1)
    assert drawn[::-1] == lm.generate(PROMPTS[::-1], max_new_tokens=8, temperature=1.5, seed=3, batch_size=2)
    assert drawn[5] == drawn[6]
    assert drawn != lm.generate(PROMPTS, max_new_tokens=8, temperature=1.5, seed=4)
    assert drawn != lm.generate(PROMPTS, max_new_tokens=8)


def test_codes_of_fewer_bits_write_what_their_floats_write(lm_path):
    model = finished(prepared(CausalLM.from_pretrained(lm_path), Nesting(bits=(2, 8))))
    for bits in (2, 8):
        view = model.at(bits=bits)
        assert view.run(PROMPTS, max_new_tokens=6) == view.plain().generate(PROMPTS, max_new_tokens=6)


def test_of_a_text_without_room_the_end_is_read(lm, capsys):
    places = lm.lm.config.max_position_embeddings
    words = " ".join(sentences(1, seed=9)[0].split()[:1] * (places + 5))
    short = " ".join(words.split()[: places - 8])
    assert lm.generate([words], max_new_tokens=8) == lm.generate([short], max_new_tokens=8)
    assert "1 of 1 texts are longer than the" in capsys.readouterr().err
    with pytest.raises(AnysizeError, match=f"max_new_tokens is {places}, and the model has {places} places in all"):
        lm.generate(["balan"], max_new_tokens=places)
    with pytest.raises(AnysizeError, match="generate: stop is 'a'; expected a list of texts"):
        lm.generate(["balan"], stop="a")
