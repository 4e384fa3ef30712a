"""One model at every budget: the battery, one pass of the tower, budgets of their own in one batch, costs."""

import pytest
import torch

from anysize.backbones.vision.llava import VisionLanguage
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.testing import check_nested_model
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.model import NestedVLM
from tests.tiny_vlm import drawn, tiny_llava

POOL = {"kind": "pool", "mode": "avg"}
QUERIES = {"kind": "queries", "queries": 8, "heads": 4, "key_source": "content+position"}
ASKED = [Asked(one, question) for one, question in zip(drawn(2), ("how many red", "what"), strict=True)]


def pooled(**text):
    return NestedVLM(Nesting(tokens=(1, 4, 16)), VisionLanguage(*tiny_llava(**text)), POOL).eval()


def queried():
    return NestedVLM(Nesting(tokens=(1, 3, 8), open=("tokens",)), VisionLanguage(*tiny_llava()), QUERIES).eval()


def plain(model):
    """The library's own call with the placeholders and the tokens of the full budget."""

    def run(asked):
        rows = []
        for one in asked:
            ids = model.vlm.tokenizer("<image> " * model.size.tokens + one.question, return_tensors="pt")
            pixels = model.vlm.processor.image_processor([one.picture], return_tensors="pt")
            rows.append(model.net(**ids, **pixels).logits[0, -1])
        return torch.stack(rows)

    return run


@pytest.mark.parametrize("make", [pooled, queried], ids=["pool", "queries"])
def test_it_keeps_every_promise_of_a_nested_model(make):
    model = make()
    check_nested_model(model, ASKED, plain=plain(model), shape=lambda size: (2, 19))


def test_a_head_that_is_tied_is_saved_once():
    model = pooled(tie_word_embeddings=True)
    assert model.net.lm_head.weight is model.net.get_input_embeddings().weight
    check_nested_model(model, ASKED, plain=plain(model))


@pytest.mark.parametrize("make", [pooled, queried], ids=["pool", "queries"])
def test_all_sizes_cost_one_pass_of_the_tower(make):
    model, passes = make(), []
    model.net.model.vision_tower.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        model.outputs(ASKED)
        model.answers(model.read(ASKED), tokens=[1, model.nesting.full.tokens], max_new_tokens=2)
    assert len(passes) == 2


def test_questions_of_one_batch_have_budgets_of_their_own():
    model = pooled()
    together = model.answers(model.read([*ASKED, ASKED[0]]), tokens=[1, 4, 16], max_new_tokens=4)
    alone = [
        model.at(tokens=count).generate([one], max_new_tokens=4)[0]
        for one, count in zip([*ASKED, ASKED[0]], (1, 4, 16), strict=True)
    ]
    assert together == alone


def test_costs_are_counted_before_anything_is_encoded():
    model = pooled()
    # two blocks keep a key and a value of one head of 8 numbers, of 4 bytes
    assert [model.at(size).cost().bytes for size in model.nesting] == [128, 512, 2048]
    block = 16 * 16 + 2 * 8 * 16 + 16 * 16 + 3 * 16 * 32 + 2 * 16
    weights = 2 * block + 16
    reads = {size.tokens: model.at(size).cost().flops for size in model.nesting}
    for more, less in ((16, 4), (4, 1)):
        t, u = more + 30, less + 30
        assert reads[more] - reads[less] == 2 * weights * (t - u) + 4 * 2 * 16 * (t * t - u * u)


def test_budgets_that_the_grid_has_not_are_refused():
    vlm = VisionLanguage(*tiny_llava())
    with pytest.raises(SizeError, match=r"5 tokens cannot be kept of 4 x 4; expected 1, 4, 16"):
        NestedVLM(Nesting(tokens=(1, 5)), vlm, POOL)
    with pytest.raises(SizeError, match="nested in tokens alone"):
        NestedVLM(Nesting(dims=(1, 4)), vlm, POOL)
    with pytest.raises(SizeError, match="only queries run at any number of tokens"):
        NestedVLM(Nesting(tokens=(1, 4, 16), open=("tokens",)), VisionLanguage(*tiny_llava()), POOL)
    with pytest.raises(AnysizeError, match="pool or queries"):
        NestedVLM(Nesting(tokens=(1, 4)), vlm, {"kind": "magic"})
    with pytest.raises(SizeError, match=r"9 tokens cannot be kept of 8; expected any whole number from 1 to 8"):
        NestedVLM(Nesting(tokens=(1, 9)), vlm, QUERIES)
    with pytest.raises(SizeError, match="trained for tokens 1, 4, 16"):
        pooled().answers(pooled().read(ASKED), tokens=[1, 2])
    with pytest.raises(AnysizeError, match="takes 79 tokens, 16 of them for pictures, with 4 more for its answer, and"):
        pooled().generate([Asked(ASKED[0].picture, "what " * 63)], max_new_tokens=4)


def test_questions_come_in_parts(tmp_path):
    model = pooled()
    ASKED[0].picture.save(tmp_path / "one.png")
    parts = [{"image": tmp_path / "one.png"}, {"text": "how many"}, {"text": "red"}]
    assert model.generate([parts], max_new_tokens=3) == model.generate(ASKED[:1], max_new_tokens=3)
    read = model.read([parts, ASKED[1], ASKED[0]], batch_size=2, folder=tmp_path)
    assert torch.equal(read.tokens[read.which], model.read([ASKED[0], ASKED[1], ASKED[0]]).tokens[[0, 1, 0]])
    assert len(model.read([parts, ASKED[1], parts]).tokens) == 2  # a picture that two ask about is seen once
    for wrong, words in (([{"text": "what"}], "0 pictures and 'what'"), (parts[:1], "1 pictures and no question")):
        with pytest.raises(DataError, match=words):
            model.generate([wrong])
