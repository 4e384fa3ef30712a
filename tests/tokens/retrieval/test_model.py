"""Vectors of interleaved items: the battery, batch and padding, one pass of the tower, sizes that mix, truncation."""

import numpy as np
import pytest
import torch
from PIL import Image

from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.prompts import Batch
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.testing import check_nested_model
from anysize.tokens.retrieval.model import Interleaved
from anysize.tokens.retrieval.sequences import last_real
from tests.tiny_vlm import drawn, tiny_llava

PICTURES = drawn(4)
ITEMS = [
    [{"text": "what is there"}, {"image": PICTURES[0]}, {"text": "red"}, {"image": PICTURES[1]}],
    [{"text": "how many"}],
    [{"image": PICTURES[2]}],
    [{"image": PICTURES[3]}, {"text": "one two three blue"}],
]


def made(max_length=None, **text):
    budget = {"kind": "pool", "mode": "avg"}
    return Interleaved(Nesting(tokens=(1, 4, 16)), VisionLanguage(*tiny_llava(**text)), budget, max_length).eval()


def pooled(pictures, model, side):
    """The tower's tokens in `side` x `side`, means of windows, by numpy."""
    pixels = model.vlm.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
    grid = torch.stack(list(model.net.model.get_image_features(pixels).pooler_output)).detach().numpy()
    window = 4 // side
    return grid.reshape(-1, side, window, side, window, 16).mean((2, 4)).reshape(-1, side * side, 16)


def plain(model):
    """One item after another through the library's own language model, on embeddings put together by hand."""

    def run(items):
        found = []
        for parts in items:
            rows, tokenizer = [], model.vlm.tokenizer
            for part in parts:
                if "image" in part:
                    side = int(model.size.tokens**0.5)
                    rows.append(torch.from_numpy(pooled([part["image"]], model, side)[0]).float())
                else:
                    ids = torch.tensor(tokenizer(part["text"])["input_ids"])
                    rows.append(model.net.get_input_embeddings()(ids))
            rows.append(model.net.get_input_embeddings()(torch.tensor([tokenizer.eos_token_id])))
            state = model.net.model.language_model(inputs_embeds=torch.cat(rows)[None]).last_hidden_state[0, -1]
            found.append(state / state.norm())
        return torch.stack(found)

    return run


def test_it_keeps_every_promise_of_a_nested_model():
    model = made()
    check_nested_model(model, ITEMS, plain=plain(model), shape=lambda size: (4, 16))


@pytest.mark.parametrize("tokens", [1, 4, 16])
def test_an_item_has_the_same_vector_alone_and_in_any_batch(tokens):
    view = made().at(tokens=tokens)
    together = view.encode(ITEMS)
    alone = np.concatenate([view.encode([one]) for one in ITEMS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(view.encode(ITEMS, batch_size=2), alone, atol=1e-5)
    np.testing.assert_allclose(view.project(view.features(ITEMS)), alone, atol=1e-5)


def test_fillers_on_the_right_give_the_vectors_that_fillers_on_the_left_give():
    model, view = made(), made().at(tokens=1)
    prompts = model.prompts(ITEMS[:2])
    left = model.vlm.batch(prompts, [[1] * one.pictures for one in prompts])
    rows = [[part[row][left.mask[row] == 1] for part in left[:3]] for row in range(2)]
    right = Batch(*(torch.nn.utils.rnn.pad_sequence([row[n] for row in rows], True) for n in range(3)), left.labels)
    kept = list(torch.from_numpy(pooled(PICTURES[:2], model, 1)).float())
    with torch.no_grad():
        states = last_real(model.vlm.hidden(right, kept), right.mask)
    expected = torch.nn.functional.normalize(states, dim=-1).numpy()
    np.testing.assert_allclose(view.encode(ITEMS[:2]), expected, atol=1e-5)


def test_all_sizes_cost_one_pass_of_the_tower_and_a_size_alone_runs_the_language_model_once():
    model, passes, read = made(), [], []
    model.net.model.vision_tower.register_forward_hook(lambda *_: passes.append(1))
    model.net.model.language_model.register_forward_hook(lambda *_: read.append(1))
    model.features(ITEMS)
    assert (len(passes), len(read)) == (1, 3)
    model.at(tokens=4).encode(ITEMS)
    assert (len(passes), len(read)) == (2, 4)


def test_what_is_cut_is_counted_before_and_told(capfd):
    model = made(max_length=12)
    assert model.cut(ITEMS, Size(tokens=16)) == (3, 4)
    assert model.cut(ITEMS, Size(tokens=4)) == (1, 1)  # 3 + 4 + 1 + 4 + 1 = 13
    assert model.cut(ITEMS, Size(tokens=1)) == (0, 0)
    model.encode(ITEMS)
    assert "at tokens=16, 3 of 4 items are longer than the 12 tokens" in capfd.readouterr().err


def test_a_text_and_a_picture_stand_for_themselves():
    view = made().at(tokens=4)
    listed = view.encode([[{"text": "red"}], [{"image": PICTURES[0]}]])
    np.testing.assert_array_equal(view.encode(["red", PICTURES[0]]), listed)


def test_an_item_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"item 1 \(from 0\): an item has neither"):
        made().encode(["red", ""])
    with pytest.raises(DataError, match=r"broken.png"):
        made().encode([tmp_path / "broken.png"])
    with pytest.raises(AnysizeError, match="at least 2"):
        made(max_length=1)


def test_a_picture_for_print_an_animation_and_a_wide_one_are_embedded_as_people_see_them(tmp_path):
    wide = Image.new("RGB", (90, 20), (200, 30, 30))
    wide.convert("CMYK").save(tmp_path / "print.tif")
    wide.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (90, 20), (0, 0, 255))])
    view = made().at(tokens=4)
    expected = np.repeat(view.encode([wide]), 2, 0)
    found = view.encode([tmp_path / "print.tif", [{"image": tmp_path / "moving.gif"}]])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(DataError, match="has 300 x 2 pixels"):
        view.encode([Image.new("RGB", (300, 2))])
