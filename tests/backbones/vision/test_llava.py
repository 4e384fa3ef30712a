"""LLaVA with its tower apart: one pass for every budget, other budgets in one batch, errors in words."""

import pytest
import torch

from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.opening import open_vlm
from anysize.core.errors import AnysizeError, DataError
from tests.tiny_vlm import drawn, tiny_llava, tiny_processor


@pytest.fixture(scope="module")
def vlm():
    return VisionLanguage(*tiny_llava())


def test_the_full_budget_is_the_library_itself(vlm):
    pictures = drawn(2)
    inputs = vlm.processor(images=pictures, text=["<image>\nhow many\n"] * 2, return_tensors="pt")
    with torch.no_grad():
        expected = vlm.model(**inputs).logits
        tokens = vlm.encode(vlm.pixels(pictures))
        batch = vlm.batch([vlm.prompt("how many")] * 2, [[16]] * 2)
        given = vlm.logits(batch, list(tokens))
    assert torch.equal(batch.ids, inputs["input_ids"])
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-5)


def test_rows_of_a_batch_may_have_budgets_of_their_own(vlm):
    questions, counts = ["how many red", "what", "is there blue"], [16, 4, 1]
    with torch.no_grad():
        tokens = vlm.encode(vlm.pixels(drawn(3)))
        kept = [row[:count] for row, count in zip(tokens, counts, strict=True)]
        prompts = [vlm.prompt(question) for question in questions]
        together = vlm.logits(vlm.batch(prompts, [[count] for count in counts]), kept, last=1)
        said = vlm.generate(vlm.batch(prompts, [[count] for count in counts]), kept, 4)
        for row in range(3):
            alone = vlm.batch(prompts[row : row + 1], [[counts[row]]])
            torch.testing.assert_close(
                vlm.logits(alone, kept[row : row + 1], last=1)[0], together[row], atol=1e-5, rtol=1e-5
            )
            assert vlm.generate(alone, kept[row : row + 1], 4) == [said[row]]


def test_answers_are_labels_at_the_end(vlm):
    prompts = [vlm.prompt("how many", answer="two red"), vlm.prompt("what", answer="one")]
    batch = vlm.batch(prompts, [[1], [4]])
    two, red, one, end = vlm.tokenizer.convert_tokens_to_ids(["two", "red", "one", "</s>"])
    assert batch.labels.tolist() == [[-100] * 4 + [two, red, end], [-100] * 5 + [one, end]]
    assert batch.mask.sum(1).tolist() == [6, 7]
    assert batch.positions[0].tolist() == [0, 0, 1, 2, 3, 4, 5]


def test_two_pictures_and_none(vlm):
    with torch.no_grad():
        tokens = vlm.encode(vlm.pixels(drawn(2)))
        both = vlm.batch([vlm.prompt("what is there", pictures=2)], [[4, 1]])
        assert int((both.ids == vlm.placeholder).sum()) == 5
        assert vlm.logits(both, [tokens[0][:4], tokens[1][:1]], last=1).shape == (1, 1, 19)
        none = vlm.batch([vlm.prompt("what is there", pictures=0)], [[]])
        assert vlm.logits(none, [], last=1).shape == (1, 1, 19)


def test_a_question_that_writes_the_pictures_token_does_not_add_a_picture(vlm):
    assert vlm.prompt("<image>\nhow many") == vlm.prompt("how many")


def test_what_does_not_fit_is_refused_before_the_library(vlm):
    with pytest.raises(AnysizeError, match="the pictures have 4 tokens, and the questions have room for 1"):
        vlm.logits(vlm.batch([vlm.prompt("what")], [[1]]), [torch.zeros(4, 16)])
    told = r"takes 61 tokens, 1 of them for pictures, with 5 more for its answer, and the model reads 64"
    with pytest.raises(AnysizeError, match=told):
        vlm.batch([vlm.prompt("what " * 60)], [[1]], room=5)
    with pytest.raises(AnysizeError, match="patches of 8 pixels, the model in 6"):
        VisionLanguage(vlm.model, tiny_processor(24, 8))
    other = VisionLanguage(vlm.model, tiny_processor(30, 6))
    with pytest.raises(AnysizeError, match="makes pictures of 30 x 30 pixels, and the model sees 24 x 24"):
        other.pixels(drawn(1))
    with pytest.raises(AnysizeError, match="cannot load the vision-language model 'nowhere'"):
        open_vlm("nowhere")


def test_a_chat_template_that_shows_no_picture_is_refused(vlm):
    before = vlm.processor.chat_template
    vlm.processor.chat_template = "{{ 'what' }}"
    try:
        with pytest.raises(DataError, match="1 pictures beside a text that has room for 0"):
            vlm.prompt("what")
    finally:
        vlm.processor.chat_template = before


def test_opening_a_folder(tmp_path):
    model, processor = tiny_llava()
    model.save_pretrained(tmp_path / "vlm")
    processor.save_pretrained(tmp_path / "vlm")
    opened = open_vlm(tmp_path / "vlm")
    assert opened.shape == (4, 4)
    with torch.no_grad():
        pixels = opened.pixels(drawn(1))
        assert torch.equal(opened.encode(pixels), VisionLanguage(model, processor).encode(pixels))
    model.model.language_model.save_pretrained(tmp_path / "lm")
    with pytest.raises(AnysizeError, match="is of type 'llama'"):
        open_vlm(tmp_path / "lm")
