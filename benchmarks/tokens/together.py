"""
Several questions about one picture in one sequence, behind one set of the picture's tokens.

A question attends to the picture and to itself, and its positions begin after the picture's: each is read as if it were
alone (tests compare), and the picture's tokens are paid for once. LLaVA's turns would let a question read the answers
before it, which say much of a drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.prompts import IGNORED, Batch

SHARED, FILLED = -1, -2
"""Whose a token is that no single question has: all of a picture's, or none's."""


class Question(NamedTuple):
    """A question and its answer."""

    text: str
    answer: str


class Together(NamedTuple):
    """Questions about some pictures, and whose each token is."""

    batch: Batch
    """Padded on the right; its mask is (n, 1, tokens, tokens), true where a token attends to another."""
    whose: torch.Tensor
    """(n, tokens): the number of a question, `SHARED` or `FILLED`."""


def together(vlm: VisionLanguage, asked: Sequence[Sequence[Question]], tokens: int) -> Together:
    """Of each picture all its questions, with answers, at so many tokens a picture."""
    rows = [_row(vlm, one, tokens) for one in asked]
    longest = max(len(row[0]) for row in rows)

    def filled(column: int, filler: int) -> torch.Tensor:
        return torch.tensor([[*row[column], *[filler] * (longest - len(row[column]))] for row in rows])

    whose = filled(1, FILLED)
    own = (whose[:, None, :] == SHARED) | (whose[:, None, :] == whose[:, :, None])
    before = torch.ones(longest, longest, dtype=torch.bool).tril()
    return Together(Batch(filled(0, vlm.filler), (own & before)[:, None], filled(2, 0), filled(3, IGNORED)), whose)


def _row(vlm: VisionLanguage, asked: Sequence[Question], tokens: int) -> tuple[list[int], ...]:
    prompts = [vlm.prompt(one.text, answer=one.answer) for one in asked]
    ids = [*prompts[0].pieces[0], *[vlm.placeholder] * tokens]
    start = len(ids)
    whose, places, labels = [SHARED] * start, list(range(start)), [IGNORED] * start
    for number, prompt in enumerate(prompts):
        question, answer = prompt.pieces[1], prompt.answer
        ids += [*question, *answer]
        labels += [*[IGNORED] * len(question), *answer]
        whose += [number] * (len(question) + len(answer))
        places += range(start, start + len(question) + len(answer))
    return ids, whose, places, labels


def foretold(vlm: VisionLanguage, read: Together, kept: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of each token of an answer, (answers' tokens, vocabulary), and where these tokens are, (n, tokens)."""
    hidden = vlm.hidden(read.batch, kept)
    there = read.batch.labels != IGNORED
    logits: torch.Tensor = vlm.model.lm_head(hidden[:, :-1][there[:, 1:]])  # a token is foretold by the one before it
    return logits.float(), there


def answered(read: Together, logits: torch.Tensor, there: torch.Tensor) -> list[list[bool]]:
    """Of each picture, of each question, whether greedy decoding would say its answer: all its tokens are likeliest."""
    hit = torch.ones_like(there)
    hit[there] = logits.argmax(-1) == read.batch.labels[there]
    return [
        [bool(right[of == number].all()) for number in range(int(of.max()) + 1)]
        for right, of in zip(hit, read.whose, strict=True)
    ]
