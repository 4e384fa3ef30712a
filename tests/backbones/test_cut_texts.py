"""How many texts a model cuts is counted as its tokenizer does it, and told once."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest

from anysize.backbones.sentence import Encoder
from anysize.backbones.texts import cut_texts
from anysize.backbones.texts.cut_texts import cut_share, say_cut
from anysize.core.data.data import Data
from anysize.core.data.records import Table
from anysize.text.depth.methods import Starbucks
from anysize.text.embedder.method import MRL
from anysize.text.tasks.method import Tasks
from tests.conftest import sentences

LONG = [" ".join(sentences(6, seed)) for seed in range(20)]
SHORT = sentences(30)


@pytest.fixture
def tokenizer(encoder):
    return encoder.model.tokenizer


@pytest.fixture(autouse=True)
def nothing_told():
    cut_texts.say_once.cache_clear()


@pytest.mark.parametrize("limit", [7, 8, 9, 32, 38, 39])
@pytest.mark.parametrize("prompt", ["", "balan demer "])
def test_counted_as_the_tokenizer_counts(tokenizer, limit, prompt):
    texts = [*LONG, *SHORT, "", "x"]
    ids = [tokenizer(prompt + text)["input_ids"] for text in texts]
    expected = sum(len(row) > limit for row in ids) / len(texts)
    assert cut_share(texts, tokenizer, limit, prompt) == (pytest.approx(expected), True)


def test_one_character_may_be_several_tokens(tokenizer):
    class Bytes:
        def num_special_tokens_to_add(self):
            return 0

        def __call__(self, texts, truncation, max_length):
            return {"input_ids": [list(text.encode())[:max_length] for text in texts]}

    assert cut_share(["سلام", "salam"], Bytes(), 7) == (0.5, True)


def test_of_very_many_texts_some_are_counted(tokenizer, monkeypatch, capsys):
    monkeypatch.setattr(cut_texts, "COUNTED", 10)
    share, exact = cut_share([*LONG, *SHORT], tokenizer, 32)
    assert (share, exact) == (pytest.approx(0.4), False)
    say_cut([*LONG, *SHORT], tokenizer, 32)
    assert capsys.readouterr().err.startswith("about 20 of 50 texts are longer than the 32 tokens")


def test_told_once_by_one_process_and_only_if_there_is_something_to_tell(tokenizer, monkeypatch, capsys):
    say_cut(SHORT, tokenizer, 32)
    say_cut(LONG, tokenizer, math.inf)
    say_cut(LONG, object(), 32)
    monkeypatch.setenv("RANK", "1")
    say_cut(LONG, tokenizer, 32)
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("RANK")
    for _ in range(2):
        say_cut([*LONG, LONG[0]], tokenizer, 32)
    told = "20 of 20 texts are longer than the 32 tokens that the model reads, and were cut there\n"
    assert capsys.readouterr().err == told


def test_an_encoder_tells_where_progress_is_shown(encoder_path, capsys):
    encoder = Encoder(str(encoder_path))
    encoder.encode(LONG + SHORT)
    assert "longer than" not in capsys.readouterr().err
    encoder.encode(LONG + SHORT, progress=True)
    assert "20 of 50 texts are longer than the 32 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (Starbucks(max_length=16, batch_size=10), "the 16 tokens .*; --max-length sets where"),
        (MRL(tune="full", dims=(8, 32), batch_size=10), "the 32 tokens"),
    ],
)
def test_fitting_tells(encoder_path, method, told, capsys):
    data = Data("some", "some", table=Table({"anchor": LONG, "positive": SHORT[:20]}))
    replace(method, model=str(encoder_path)).fit(data)
    assert re.search(f"18 of 36 texts are longer than {told}", capsys.readouterr().err)  # a tenth is held out


def test_fitting_task_adapters_tells_with_the_instruction_counted(encoder_path, tmp_path, capsys):
    rows = [{"anchor": one, "positive": other} for one, other in zip(LONG, SHORT, strict=False)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Tasks(str(encoder_path), [f"retrieval={tmp_path / 'pairs.jsonl'}"], dims=(8, 32), max_length=9).fit(
        Data("none", "n")
    )
    # A text of six words has eight tokens, and goes over with the instruction before it.
    assert "36 of 36 texts are longer than the 9 tokens" in capsys.readouterr().err
