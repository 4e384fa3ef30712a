"""Texts longer than the model reads: told, or indexed in passages so that nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anysize.backbones.sentence import Encoder
from anysize.backbones.texts import cut_texts
from anysize.backbones.texts.window import Window
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.text.depth.model import NestedEncoder
from anysize.text.embedder.model import Embedder
from tests.conftest import WORDS, sentences
from tests.search.helpers import HashModel

LIMIT = 32


@pytest.fixture(scope="module")
def model(encoder_path):
    return Embedder(Nesting(dims=(8, 32)), 32, encoder=Encoder(str(encoder_path)))


@pytest.fixture
def long():
    """A text of 300 words in sentences of various lengths, and a run of 100 without an end."""
    parts = [" ".join(WORDS[row % 200] for row in range(start, start + 7)) + "." for start in range(0, 210, 7)]
    return " ".join(parts) + " " + " ".join(WORDS[:100])


@pytest.fixture
def untold():
    """The line is told once in a process; here to each test."""
    cut_texts.say_once.cache_clear()


def tokens(model, text: str) -> list[int]:
    return model.encoder.model.tokenizer(text)["input_ids"]


def test_passages_are_read_whole_and_hold_everything(model, long):
    for text in (long, long.replace(".", ""), long.replace(" ", "\n"), "東京" * 90, " " * 400 + long):
        (spans,) = model.window().passages([text])
        assert [0, *(end for _, end in spans)] == [*(start for start, _ in spans), len(text)]
        assert all(len(tokens(model, text[start:end])) <= LIMIT for start, end in spans)
        assert len(spans) > 2
    (spans,) = model.window().passages([long])
    assert sum(long[:end].endswith(".") for _, end in spans) >= 7
    assert all(long[end - 1] in ". " for _, end in spans[:-1])
    short = ["", "short", *sentences(3)]
    assert model.window().passages(short) == [[(0, len(text))] for text in short]


def test_a_prompt_takes_its_room(model, long):
    prompt = " ".join(WORDS[:10]) + " "
    tokenizer = model.encoder.model.tokenizer
    window = Window(tokenizer, LIMIT, prompt)
    (spans,) = window.passages([long])
    lengths = [len(tokenizer(prompt + long[start:end])["input_ids"]) for start, end in spans]
    assert max(lengths) <= LIMIT
    assert max(lengths) > LIMIT - 10
    with pytest.raises(AnysizeError, match="no room for passages"):
        Window(tokenizer, 9, prompt).passages([long])


def test_the_end_of_a_long_text_is_found_only_in_passages(tmp_path, model, long, capsys, untold):
    other = sentences(20, seed=3)
    texts = [*other, long]
    tail = " ".join(long.split()[-20:])
    cut = Index.build(tmp_path / "cut", model, texts, model_path="m")
    said = capsys.readouterr().err
    assert f"1 of 21 texts are longer than the {LIMIT} tokens that the model reads" in said
    assert "--passages" in said
    index = Index.build(tmp_path / "p", model, texts, passages=True, model_path="m")
    assert "longer" not in capsys.readouterr().err
    spans = model.window().passages([long])[0]
    there = {hit.id: hit.text for hit in index.search(tail, k=100).hits}
    assert there == {
        **{str(row): text for row, text in enumerate(other)},
        **{f"20#{number}": long[start:end].strip() for number, (start, end) in enumerate(spans, 1)},
    }
    best = index.search(tail).hits[0]
    assert best.text in long
    assert best.score > cut.search(tail, k=30).hits[0].score
    vectors = model.encode([best.text, tail])
    assert best.score == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)


def test_additions_upserts_and_deletions_take_whole_items(tmp_path, model, long):
    short = sentences(3)
    index = Index.build(tmp_path / "i", model, [long, *short], ids=["long", "a", "b", "c"], passages=True)
    many = len(model.window().passages([long])[0])
    assert len(index) == many + 3

    def ids():
        return {hit.id for hit in index.search(short[0], k=500).hits}

    whole = {f"long#{number}" for number in range(1, many + 1)}
    assert ids() == whole | {"a", "b", "c"}
    with pytest.raises(DataError, match=r"'long' .* already in the index"):
        index.add([short[0]], ids=["long"])
    index.upsert([long[:150], long], ids=["long", "a"])  # now in fewer passages, and "a" in many
    fewer = len(model.window().passages([long[:150]])[0])
    assert 1 <= fewer < many
    names = {"long"} if fewer == 1 else {f"long#{number}" for number in range(1, fewer + 1)}
    assert ids() == names | {f"a#{number}" for number in range(1, many + 1)} | {"b", "c"}
    index.delete(["a", "b"])
    assert ids() == names | {"c"}
    index = Index.open(tmp_path / "i", model)
    index.add([long])  # 4 items were built, and 2 added since
    index.delete("6#2")
    assert ids() == names | {"c"} | {f"6#{number}" for number in range(1, many + 1)} - {"6#2"}
    index.compact()
    index.delete("6")
    assert ids() == names | {"c"}
    with pytest.raises(DataError, match="'page#3' ends like that of a passage"):
        index.add([short[0]], ids=["page#3"])
    with pytest.raises(DataError, match="'6'"):
        index.delete("6")


def test_every_kind_of_model_that_reads_texts_says_how_much(encoder_path, long):
    nested = NestedEncoder.from_pretrained(str(encoder_path), layers=(1, 2))
    embedder = Embedder(Nesting(dims=(8, 32)), 32, encoder=Encoder(str(encoder_path)))
    assert nested.window().passages([long]) == embedder.window().passages([long])
    assert nested.at(layers=1).window().limit == LIMIT
    with pytest.raises(AnysizeError, match="has no encoder"):
        Embedder(Nesting(dims=(8, 32)), 32).window()


def test_passages_need_a_model_that_says_how_much_it_reads(tmp_path):
    with pytest.raises(AnysizeError, match="says how much of a text it reads"):
        Index.build(tmp_path / "i", HashModel(), ["a"], passages=True)
    index = Index.build(tmp_path / "i", None, np.eye(3, 8), passages=True)  # vectors have none
    assert len(index) == 3


def test_as_typed(anysize, tmp_path, monkeypatch, model, long, untold):
    monkeypatch.chdir(tmp_path)
    model.save("model")
    rows = [{"id": "long", "text": long}, {"id": "a", "text": "ba lan"}]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = anysize("index", "model", "texts.jsonl", "--out", "cut", "--json")
    assert said.json["count"] == 2
    assert f"1 of 2 texts are longer than the {LIMIT} tokens" in said.err
    said = anysize("index", "model", "texts.jsonl", "--out", "idx", "--passages", "--json")
    many = len(model.window().passages([long])[0])
    assert said.json["count"] == many + 1
    assert "longer" not in said.err
    said = anysize("index", "model", "texts.jsonl", "--out", "idx", "--upsert", "--json")
    assert said.json["count"] == many + 1
    anysize("index", "model", "texts.jsonl", "--out", "cut", "--upsert", "--passages").refused("--passages cannot be")
