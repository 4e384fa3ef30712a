"""Qwen2.5-VL: all tokens are the library itself, fewer stand as a coarser grid, in batches of any mixture."""

import pytest
import torch

from anysize.backbones.vision.opening import as_vlm, open_vlm
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.fit import fit
from anysize.core.verbs.load import load
from anysize.testing import check_nested_model
from anysize.tokens import M3, MQT
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.model import NestedVLM
from tests.tiny_vlm import drawn, tiny_llava, tiny_qwen
from tests.tokens.vlm.test_fit import shown

POOL = {"kind": "pool", "mode": "avg"}
IMAGE = "<|image_pad|> "
PICTURES = [drawn(1)[0].resize((60, 20)), drawn(2)[1]]
ASKED = [Asked(one, question) for one, question in zip(PICTURES, ("how many red", "what"), strict=True)]


def made():
    return NestedVLM(Nesting(tokens=(1, 4, 16)), as_vlm(*tiny_qwen()), POOL).eval()


def given(model, one, rows=4, columns=4):
    """What the library's own call takes, at all tokens."""
    ids = model.vlm.tokenizer(IMAGE * rows * columns + one.question, return_tensors="pt")["input_ids"]
    whole = one.picture.resize((8 * columns, 8 * rows), 3)  # bicubic
    pictures = model.vlm.processor.image_processor([whole], return_tensors="pt")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": (ids == 4).int(), **pictures}


def plain(model):
    return lambda asked: torch.stack([model.net(**given(model, one)).logits[0, -1] for one in asked])


def test_it_keeps_every_promise_and_all_tokens_are_the_library_itself():
    model = made()
    check_nested_model(model, ASKED, plain=plain(model), shape=lambda size: (2, 19))
    written = [
        model.net.generate(**given(model, one), max_new_tokens=5, do_sample=False)[0, -5:].tolist() for one in ASKED
    ]
    assert model.generate(ASKED, max_new_tokens=5) == [
        model.vlm.tokenizer.decode(one, skip_special_tokens=True) for one in written
    ]


def test_a_grid_may_be_longer_than_wide():
    model = NestedVLM(Nesting(tokens=(2, 8)), as_vlm(*tiny_qwen()), {**POOL, "grid": [4, 2]}).eval()
    with torch.no_grad():
        whole = torch.stack([model.net(**given(model, one, 4, 2)).logits[0, -1] for one in ASKED])
        torch.testing.assert_close(model.at(tokens=8)(ASKED), whole, atol=1e-5, rtol=1e-5)
        every = model.vlm.encode(model.vlm.pixels(PICTURES))
        two = torch.stack([every[:, :4].mean(1), every[:, 4:].mean(1)], 1)  # the upper and the lower half
        torch.testing.assert_close(model.keep(every, [model.nesting[0]])[model.nesting[0]], two)


def test_fewer_tokens_stand_where_a_coarser_grid_would():
    model = made()
    prompt = model.vlm.prompt("how many red")
    with torch.no_grad():
        everything = model.vlm.encode(model.vlm.pixels(PICTURES[:1]))
        whole = model.net.model.get_image_features(
            model.vlm.pixels(PICTURES[:1])[0], torch.tensor([[1, 8, 8]]), return_dict=True
        )
        torch.testing.assert_close(everything[0], whole.pooler_output[0])
        four = everything[0].unflatten(0, (2, 2, 2, 2)).mean((1, 3)).flatten(0, 1)
        ids = torch.tensor([[4] * 4 + list(prompt.pieces[1])])
        embedded = model.net.get_input_embeddings()(ids).clone()
        embedded[ids == 4] = four
        text = torch.arange(len(prompt.pieces[1])) + 2  # behind two rows
        rows, columns = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        places = torch.stack([torch.cat([one, text]) for one in (torch.zeros(4).long(), rows, columns)])[:, None]
        expected = model.net.model.language_model(inputs_embeds=embedded, position_ids=places).last_hidden_state[:, -1]
        torch.testing.assert_close(model.at(tokens=4)(ASKED[:1]), model.net.lm_head(expected), atol=1e-5, rtol=1e-5)


def test_questions_of_one_batch_have_budgets_of_their_own():
    model = made()
    rows = [*ASKED, ASKED[0]]
    together = model.answers(model.read(rows), tokens=[1, 4, 16], max_new_tokens=4)
    alone = [model.at(tokens=n).generate([one], max_new_tokens=4)[0] for one, n in zip(rows, (1, 4, 16), strict=True)]
    assert together == alone
    batch = model.vlm.batch([model.vlm.prompt("what is there", pictures=0), model.vlm.prompt("how")], [[], [4]])
    with torch.no_grad():
        kept = [model.vlm.encode(model.vlm.pixels(PICTURES[:1]))[0][:4]]
        both = model.vlm.logits(batch, kept, last=1)
        words = model.vlm.batch([model.vlm.prompt("what is there", pictures=0)], [[]])
        torch.testing.assert_close(both[0], model.vlm.logits(words, [], last=1)[0], atol=1e-5, rtol=1e-5)


def test_it_learns_is_saved_and_cut_out(tmp_path):
    net, processor = tiny_qwen()
    for part in (net, processor):
        part.save_pretrained(str(tmp_path / "qwen"))
    data = shown(20, 1)
    method = M3(model=str(tmp_path / "qwen"), tokens=(1, 4, 16), epochs=8.0, batch_size=6, learning_rate=1e-2, lora=2)
    model = fit(data, method=method, out=tmp_path / "eye")
    assert model.about["losses"][-1]["loss"] < model.about["losses"][0]["loss"] - 0.5
    again, small = load(tmp_path / "eye"), load(tmp_path / "eye", "tokens=4")
    assert model.vlm.shape == again.vlm.shape == small.vlm.shape == (4, 4)
    with torch.no_grad():
        assert torch.equal(again.at(tokens=4)(ASKED), model.at(tokens=4)(ASKED))
        assert torch.equal(small(ASKED), model.at(tokens=4)(ASKED))
    assert again.generate(ASKED, max_new_tokens=2) == model.generate(ASKED, max_new_tokens=2)


def test_a_grid_is_named_to_a_method(tmp_path):
    net, processor = tiny_qwen()
    for part in (net, processor):
        part.save_pretrained(str(tmp_path / "qwen"))
    method = M3(model=str(tmp_path / "qwen"), grid=(4, 2), batch_size=9)
    model = fit(shown(20, 1), method=method, out=tmp_path / "eye")
    assert model.nesting.values("tokens") == (2, 8)  # those that the grid has
    assert load(tmp_path / "eye", "tokens=2").vlm.shape == (4, 2)


def test_costs_are_those_of_its_own_tower():
    model = made()
    block = 4 * 16 * 16 + 4 * 16 + 3 * 16 * 32 + 2 * 32 + 16 + 2 * 16
    merger = 16 + 64 * 64 + 64 + 64 * 16 + 16
    tower = 2 * 64 * (2 * block + 96 * 16) + 4 * 16 * (64 * 64 + 64 * 16) + 2 * 16 * merger
    inside = 2 * (16 * 16 + 2 * 8 * 16 + 16 * 16 + 16 + 2 * 8 + 3 * 16 * 32 + 2 * 16) + 16
    language = 2 * inside * 34 + 4 * 2 * 34**2 * 16 + 2 * 19 * 16
    assert model.at(tokens=4).cost().flops == tower + language
    assert [model.at(size).cost().bytes for size in model.nesting] == [128, 512, 2048]


def test_what_it_cannot_do_is_refused(tmp_path):
    net, processor = tiny_qwen()
    with pytest.raises(SizeError, match="put on a square grid, and 8 tokens are none"):
        NestedVLM(Nesting(tokens=(1, 8)), as_vlm(net, processor), POOL)
    with pytest.raises(SizeError, match=r"9 tokens cannot be kept of 4 x 4; expected 1, 4, 16"):
        NestedVLM(Nesting(tokens=(9, 16)), as_vlm(net, processor), POOL)
    with pytest.raises(AnysizeError, match="grid is rows and columns, such as 8,6; got 8"):
        M3(tokens=(1, 4), grid=(8,))
    with pytest.raises(AnysizeError, match="a llava sees pictures of one size, in 16 tokens"):
        NestedVLM(Nesting(tokens=(1, 4)), as_vlm(*tiny_llava()), {**POOL, "grid": [4, 4]})
    processor.image_processor.patch_size = 6
    with pytest.raises(AnysizeError, match="cuts pictures in patches of 6, the model in 4"):
        as_vlm(net, processor)
    processor.image_processor.patch_size = 4
    for part in (net, processor):
        part.save_pretrained(str(tmp_path / "qwen"))
    with pytest.raises(AnysizeError, match="queries take a projector's place, and a qwen2_5_vl has none"):
        fit(shown(20, 1), method=MQT(model=str(tmp_path / "qwen"), tokens=(1, 4), heads=4))
    with pytest.raises(AnysizeError, match="transformers has no qwen2_5_vl that pools its grid"):
        made().at(tokens=4).export(tmp_path / "out")
    net.model.language_model.save_pretrained(tmp_path / "lm")
    with pytest.raises(AnysizeError, match=r"expected a vision-language model of type llava or qwen2_5_vl"):
        open_vlm(tmp_path / "lm")
    with pytest.raises(AnysizeError, match=r"have no budget; expected llava or qwen2_5_vl"):
        as_vlm(net.model.language_model)
