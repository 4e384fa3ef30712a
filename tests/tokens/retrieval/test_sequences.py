"""What is read of an item: the order of parts, the end token, what is left out, and where the last token stands."""

import numpy as np
import pytest
import torch

from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.prompts import Prompt
from anysize.core.errors import DataError
from anysize.tokens.retrieval.sequences import last_real, parts_of, sequence, shortened
from tests.tiny_vlm import drawn, tiny_llava


def test_parts_keep_their_order_and_the_end_token_is_last():
    vlm = VisionLanguage(*tiny_llava())
    (one,) = drawn(1)
    read = sequence(vlm, [{"text": "red"}, {"image": one}, {"text": "blue <image> one"}, {"image": one}])
    words = [vlm.tokenizer.convert_ids_to_tokens(list(piece)) for piece in read.pieces]
    assert words == [["red"], ["blue", "one"], ["</s>"]]  # a picture's token in a text is no picture


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (12, ((5, 6), (7, 8), (9, 2))),
        (11, ((5, 6), (7, 8), (2,))),
        (10, ((5, 6), (7, 8, 2))),
        (6, ((5, 6), (2,))),
        (5, ((5, 6, 2),)),
        (2, ((5, 2),)),
    ],
)
def test_what_does_not_fit_is_left_out_from_the_end_and_pictures_as_wholes(limit, kept):
    read = shortened(Prompt(((5, 6), (7, 8), (9, 2))), 3, limit)
    assert read.pieces == kept
    assert read.length([3] * read.pictures) <= limit


def test_the_last_real_token_is_found_whichever_side_the_fillers_are_on():
    hidden = torch.arange(24.0).reshape(2, 4, 3)
    left, right = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(last_real(hidden, left), hidden[[0, 1], [3, 3]])
    np.testing.assert_array_equal(last_real(hidden, right), hidden[[0, 1], [1, 3]])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([{"audio": "a.wav"}], "audio a.wav stands among the parts"),
        ([{"text": " "}], "neither words nor a picture"),
        ([], "neither words nor a picture"),
        ([3], "3 stands among the parts"),
    ],
    ids=["sound", "blank", "nothing", "number"],
)
def test_an_item_that_cannot_be_read_is_refused_in_one_sentence(row, why):
    with pytest.raises(DataError, match=why):
        parts_of(row)
