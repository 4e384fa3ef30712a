from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from anysize.core.errors import DataError
from anysize.text.arabic.vocabulary import tokenizer_report
from tests.conftest import WORDS, sentences

ARABIC = ["رجل يقطع السمك في المطبخ", "امرأة تقطع السمك", "رجل في المطبخ"]


def test_a_tokenizer_of_transformers(encoder):
    # The vocabulary of the test encoder is whole words, so each is one token or unknown.
    report = tokenizer_report(encoder.model.tokenizer, [*sentences(3), "unheard of"])
    assert (report.words, report.tokens, report.unknown, report.single_characters) == (20, 20, 2, 0)
    assert report.unknown_rate == pytest.approx(0.1)
    assert report.tokens_per_word == 1
    assert tokenizer_report(encoder.model, [WORDS[0]]).tokens == 1
    assert tokenizer_report(encoder.model, ARABIC).unknown_rate == 1


def characters(kind: str) -> Tokenizer:
    """Knows the letters of ARABIC, but few or no words."""
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        trainer = trainers.WordPieceTrainer(vocab_size=0, special_tokens=["[UNK]"], show_progress=False)
    else:
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=60, unk_token="[UNK]", special_tokens=["[UNK]"], show_progress=False, max_piece_length=1
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(ARABIC, trainer)
    return tokenizer


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_a_tokenizer_that_spells_words_out(kind):
    tokenizer = characters(kind)
    report = tokenizer_report(tokenizer, ARABIC)
    letters = sum(len(text.replace(" ", "")) for text in ARABIC)
    assert report.tokens == letters == report.single_characters
    assert report.tokens_per_word == pytest.approx(letters / 11)
    assert report.unknown_rate == 0
    assert report.single_character_rate == 1
    mixed = tokenizer_report(tokenizer, ["رجل", "xyz"])
    assert mixed.unknown > 0
    assert mixed.to_json()["unknown_rate"] == mixed.unknown / mixed.tokens


def test_what_is_no_tokenizer_or_no_text():
    with pytest.raises(DataError, match="object is not a tokenizer"):
        tokenizer_report(object(), ["a"])
    for texts in ([], ["  "], "a b"):
        with pytest.raises(DataError, match="list of texts with words"):
            tokenizer_report(characters("wordpiece"), texts)
