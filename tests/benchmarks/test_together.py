"""Several questions in one sequence are read as if each were alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.tokens.together import Question, answered, foretold, together
from torch.testing import assert_close

from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.pictures import picture
from tests.tiny_vlm import tiny_llava

ASKED = [
    [Question("what is there", "red"), Question("how many", "two one"), Question("is there red", "no")],
    [Question("how many red", "four")],
]


@pytest.fixture(scope="module")
def vlm():
    return VisionLanguage(*tiny_llava(seed=3))


@pytest.fixture(scope="module")
def kept(vlm):
    pictures = [np.random.default_rng(row).integers(0, 256, (24, 24, 3), dtype=np.uint8) for row in range(2)]
    with torch.no_grad():
        return list(vlm.encode(vlm.pixels([picture(one) for one in pictures]))[:, :5])


def alone(vlm, kept, question):
    """Logits of the answer's tokens, of one question by itself."""
    prompt = vlm.prompt(question.text, answer=question.answer)
    batch = vlm.batch([prompt], [[len(kept)]])
    return vlm.logits(batch, [kept], last=len(prompt.answer) + 1)[0, :-1].float()


@torch.no_grad()
def test_each_question_has_the_logits_that_it_has_alone(vlm, kept):
    logits, there = foretold(vlm, read := together(vlm, ASKED, 5), kept)
    expected = [alone(vlm, kept[row], one) for row, asked in enumerate(ASKED) for one in asked]
    assert_close(logits, torch.cat(expected), atol=1e-5, rtol=1e-5)
    answers = [vlm.prompt("", answer=one.answer).answer for asked in ASKED for one in asked]
    assert read.batch.labels[there].tolist() == [token for answer in answers for token in answer]


@pytest.mark.parametrize(
    ("token", "expected"), [(1, [[False, True, True], [True]]), (2, [[True, False, True], [True]])]
)
def test_an_answer_is_right_where_all_its_tokens_are_the_likeliest(vlm, token, expected):
    read = together(vlm, ASKED, 5)
    there = read.batch.labels != -100
    wanted = read.batch.labels[there]  # red, end; two, one, end; no, end; four, end
    said = wanted.clone()
    said[token] = (said[token] + 1) % 19
    assert answered(read, torch.nn.functional.one_hot(said, 19).float(), there) == expected
