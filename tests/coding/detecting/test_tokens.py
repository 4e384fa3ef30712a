"""A token classifier on a tiny encoder, and the same encoder under a linker."""

from __future__ import annotations

import random

import pytest

import anysize as az
from anysize.coding.detecting.tokens import TokenDetector
from anysize.coding.method import ICD
from anysize.coding.reading.data import data_of
from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.records.documents import Document, Span
from anysize.core.errors import AnysizeError
from tests.conftest import WORDS

CODES = {"balan": "A00", "defen": "B00", "gokes": "C00"}


def written(count: int, seed: int) -> list[Document]:
    """Words among which those of `CODES` are mentions, some at the end of a line."""
    draw, made = random.Random(seed), []
    rest = [word for word in WORDS if word not in CODES]
    for number in range(count):
        text, spans = "", []
        for _ in range(draw.randint(4, 8)):
            word = draw.choice(sorted(CODES)) if draw.random() < 0.3 else draw.choice(rest)
            if word in CODES:
                spans.append(Span(len(text), len(text) + len(word), word, CODES[word]))
            text += word + draw.choice((" ", "  ", "\n"))
        made.append(Document(str(number), text, tuple(spans)))
    return made


@pytest.fixture(scope="module")
def detector(encoder_path):
    return TokenDetector.fit(written(150, 0), str(encoder_path), epochs=40, learning_rate=2e-3, batch=16, length=32)


def test_it_finds_mentions_at_their_exact_characters(detector):
    for one in written(20, 1):
        (found,) = detector.detect([one.text])
        assert [one.text[a:b] for a, b, _ in found] == [span.mention for span in one.spans]
        assert [(a, b) for a, b, _ in found] == [(span.start, span.end) for span in one.spans]
        assert all(0 < sure <= 1 for _, _, sure in found)


def test_a_text_longer_than_the_model_reads_is_found_through_windows(detector):
    text = f"{'balan ' + 'bamer ' * 9}" * 12
    (found,) = detector.detect([text])
    assert [text[a:b] for a, b, _ in found] == ["balan"] * 12
    assert detector.detect([""]) == [[]]


def test_saved_it_finds_the_same(detector, tmp_path):
    detector.save(tmp_path)
    texts = [one.text for one in written(5, 2)]
    again = TokenDetector.load(tmp_path).detect(texts)
    for mine, theirs in zip(detector.detect(texts), again, strict=True):
        assert [one[:2] for one in mine] == [one[:2] for one in theirs]


def test_without_a_span_nothing_can_be_learnt(encoder_path):
    with pytest.raises(AnysizeError, match="no document has a span"):
        TokenDetector.fit([Document("0", "bamer")], str(encoder_path))


def test_a_coder_on_a_sentence_encoder_keeps_every_promise(encoder_path, tmp_path):
    data = data_of("words", written(20, 0), CodeDictionary.of({code: word for word, code in CODES.items()}))
    method = ICD(
        dims=(4, 8), candidates=(2, 3), folds=0, epochs=3, encoder=str(encoder_path), detector=str(encoder_path),
        detector_epochs=4,
    )  # fmt: skip
    coder = method.fit(data)
    assert coder.link(["balan"], 1)[0][0][0] == "A00"
    az.testing.check_nested_model(coder, ["balan", "defen"], items=["balan bamer", "gokes"])
    coder.save(tmp_path / "coder")
    assert az.load(tmp_path / "coder").run(["balan bamer"]) == coder.run(["balan bamer"])
