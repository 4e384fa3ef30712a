"""`anysize index` and `anysize search`, as typed."""

from __future__ import annotations

import json
import os
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anysize.backbones import sentence as encoder_module
from anysize.backbones.sentence import Encoder
from anysize.cli.main import run
from anysize.cli.verbs.search import Found
from anysize.core.printable import printable_json, printable_page
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.search import index as index_module
from anysize.text.embedder.model import Embedder
from tests.conftest import sentences
from tests.search.helpers import HashModel, scores, vectors


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("corpus.npy", vectors(300, 32))
    np.save("query.npy", vectors(1, 32, seed=1)[0])
    os.mkfifo("fifo.npy")
    weight = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))[0]
    Embedder(Nesting(dims=(8, 16, 32)), 32, weight=weight).save("model")
    return tmp_path


def said(capsys, *words):
    status = run(list(words))
    out, err = capsys.readouterr()
    return status, out, err


def test_vectors_are_indexed_through_a_model_and_searched(here, capsys):
    status, out, err = said(capsys, "index", "model", "corpus.npy", "--out", "idx", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["count"] == 300
    stages = "dims=8:50,dims=32"
    status, out, _ = said(capsys, "search", "idx", "--vector", "query.npy", "-k", "3", "--stages", stages, "--json")
    found = json.loads(out)
    assert status == 0
    assert [sorted(hit) for hit in found["hits"]] == [["id", "score", "text"]] * 3
    assert found["bytes_read"] == sum(stage["bytes"] for stage in found["stages"])
    assert [(stage["dims"], stage["candidates"], stage["kept"]) for stage in found["stages"]] == [
        (8, 300, 50),
        (32, 50, 3),
    ]
    status, out, _ = said(capsys, "search", "idx", "--vector", "query.npy")
    assert status == 0
    assert "bytes read" in out


def test_vectors_are_kept_as_they_are_without_a_model(here, capsys):
    status, out, _ = said(capsys, "index", "-", "corpus.npy", "--out", "idx", "--dims", "8,32", "--metric", "dot")
    assert status == 0
    assert "anysize search idx --vector QUERY.npy" in out
    status, out, _ = said(capsys, "search", "idx", "--vector", "query.npy", "--json")
    best = np.argmax(np.load("corpus.npy") @ np.load("query.npy"))
    assert status == 0
    assert json.loads(out)["hits"][0]["id"] == str(best)


def test_a_model_that_was_moved_is_named(here, capsys):
    assert said(capsys, "index", "model", "corpus.npy", "--out", "idx", "--size", "dims=16")[0] == 0
    (here / "model").rename(here / "moved")
    status, out, err = said(capsys, "search", "idx", "--vector", "query.npy")
    assert (status, out) == (2, "")
    assert "model" in err
    assert said(capsys, "search", "idx", "--vector", "query.npy", "--model", "moved")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "nowhere", "x"], "does not exist; expected an index"),
        (["search", "idx"], "give either"),
        (["search", "idx", "x"], "with a vector, not a text"),
        (["search", "idx", "--vector", "corpus.npy"], "one query, got 300"),
        (["search", "idx", "--vector", "model/anysize.json"], "cannot be read as a vector"),
        (["search", "idx", "--vector", "fifo.npy"], "fifo.npy is no file"),
        (["search", "idx", "--vector", "query.npy", "--stages", "dims=7:10,dims=32"], "trained for dims 8, 32"),
        (["search", "idx", "--vector", "query.npy", "-k", "0"], "at least 1"),
        (["index", "-", "corpus.npy", "--out", "model"], "not an index"),
        (["index", "-", "corpus.npy", "--out", "new", "--dims", "8,16"], "do not fit"),
        (["index", "model", "corpus.npy", "--out", "new", "--dims", "8,16"], "knows its own sizes"),
        (["index", "-", "nothing.npy", "--out", "new"], "nothing.npy"),
        (["index"], "give MODEL, CORPUS and --out"),
        (["index", "-", "corpus.npy"], "give MODEL, CORPUS and --out"),
        (["index", "-", "corpus.npy", "--compact", "idx"], "leave out MODEL"),
        (["index", "--compact", "new"], "does not exist"),
        (["index", "-", "corpus.npy", "--out", "new", "--add"], "does not exist"),
        (["index", "-", "corpus.npy", "--out", "idx", "--add", "--upsert"], "one of the two"),
        (["index", "-", "corpus.npy", "--out", "idx", "--upsert"], "no ids of its own"),
        (["index", "-", "corpus.npy", "--out", "idx", "--add", "--metric", "dot"], "--metric cannot be changed"),
        (["index", "model", "corpus.npy", "--out", "idx", "--add"], "without a model"),
        (["search", "idx", "--queries", "nothing.txt"], "nothing.txt is not there"),
        (["search", "idx", "x", "--queries", "lines.txt"], "give either"),
        (["search", "idx", "--queries", "lines.txt"], "with a vector, not a text"),
        (["search", "idx", "--queries", "empty.txt"], "holds no query"),
        (["search", "idx", "--queries", "bad.jsonl"], "bad.jsonl line 3 is no query"),
        (["search", "idx", "--queries", "latin.txt"], "latin.txt line 2 holds the byte 0xe9"),
        (["info", "model", "--verify"], "not an index"),
    ],
)
def test_bad_input_is_one_sentence(here, capsys, words, message):
    assert said(capsys, "index", "-", "corpus.npy", "--out", "idx", "--dims", "8,32")[0] == 0
    (here / "lines.txt").write_text("a cat\n")
    (here / "empty.txt").write_text("\n \n")
    (here / "bad.jsonl").write_text('{"text": "a"}\n\n{"text": ""}\n')
    (here / "latin.txt").write_bytes(b"a\ncaf\xe9\n")
    status, out, err = said(capsys, *words)
    assert (status, out) == (2, "")
    assert message in err
    assert not (here / "new").exists()


def test_additions_upserts_and_merging_as_typed(here, capsys):
    assert said(capsys, "index", "-", "corpus.npy", "--out", "idx", "--dims", "8,32")[0] == 0
    np.save("more.npy", vectors(400, 32, seed=2))
    status, out, _ = said(capsys, "index", "-", "more.npy", "--out", "idx", "--add", "--json")
    assert status == 0
    assert (json.loads(out)["before"], json.loads(out)["count"]) == (300, 700)
    others = vectors(2, 32, seed=3)
    with (here / "some.jsonl").open("w") as file:
        for name, row in (("5", 0), ("new", 1)):
            file.write(json.dumps({"id": name, "vector": others[row].tolist()}) + "\n")
    status, out, _ = said(capsys, "index", "-", "some.jsonl", "--out", "idx", "--upsert")
    assert status == 0
    assert "701 items (700 before)" in out
    rows = np.vstack([np.load("corpus.npy"), np.load("more.npy"), others[1:]])
    rows[5] = others[0]
    query = np.load("query.npy")
    best = np.argsort(-scores(rows, query))[:5]
    expected = ["new" if row == 700 else str(row) for row in best]

    def found():
        status, out, _ = said(capsys, "search", "idx", "--vector", "query.npy", "-k", "5", "--json")
        assert status == 0
        return [hit["id"] for hit in json.loads(out)["hits"]]

    assert found() == expected
    status, out, _ = said(capsys, "index", "--compact", "idx", "--json")
    assert status == 0
    merged = json.loads(out)
    assert (merged["count"], merged["segments"]) == (701, 2)
    assert merged["bytes"] < merged["bytes_before"]
    assert found() == expected
    status, out, _ = said(capsys, "info", "idx", "--verify")
    assert status == 0
    assert "unaltered" in out
    victim = next((here / "idx" / "segments").rglob("dims-*"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    status, out, err = said(capsys, "info", "idx", "--verify")
    assert (status, out) == (2, "")
    assert f"{victim.name} was altered" in err


@pytest.fixture
def texts(here, capsys, encoder_path):
    model = Embedder(Nesting(dims=(8, 32)), 32, encoder=Encoder(str(encoder_path)))
    model.save("reader")
    with (here / "texts.jsonl").open("w") as file:
        for row, text in enumerate(sentences(12)):
            file.write(json.dumps({"id": f"t{row}", "text": text}) + "\n")
    assert said(capsys, "index", "reader", "texts.jsonl", "--out", "idx")[0] == 0
    return sentences(12)


def test_many_queries_are_answered_in_order_from_a_file_or_standard_input(here, capsys, texts, monkeypatch):
    asked = [texts[3], texts[9], texts[0]]
    (here / "lines.txt").write_text("\n" + "\n\n".join(asked) + "\n")
    (here / "lines.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{row}", "text": text}) + "\n" for row, text in enumerate(asked))
    )
    np.save("lines.npy", Embedder.load("reader").encode(asked))
    alone = [json.loads(said(capsys, "search", "idx", text, "-k", "2", "--json")[1])["hits"] for text in asked]
    assert [hits[0]["id"] for hits in alone] == ["t3", "t9", "t0"]
    ids = {"lines.txt": ["2", "4", "6"], "lines.jsonl": ["q0", "q1", "q2"], "lines.npy": ["1", "2", "3"]}
    for name, names in ids.items():
        status, out, err = said(capsys, "search", "idx", "--queries", name, "-k", "2", "--json")
        assert (status, err) == (0, "")
        found = [json.loads(line) for line in out.splitlines()]
        assert [one["query_id"] for one in found] == names
        assert [one["query"] for one in found] == ([None] * 3 if name == "lines.npy" else asked)
        for one, hits in zip(found, alone, strict=True):
            assert [hit["id"] for hit in one["hits"]] == [hit["id"] for hit in hits]
            assert [hit["score"] for hit in one["hits"]] == pytest.approx([hit["score"] for hit in hits], abs=1e-6)
    with (here / "lines.txt").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        status, out, _ = said(capsys, "search", "idx", "--queries", "-", "-k", "1")
    assert status == 0
    blocks = out.strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        f"{row}:  {text}" for row, text in zip("246", asked, strict=True)
    ]
    assert ["t3" in blocks[0], "t9" in blocks[1], "t0" in blocks[2]] == [True] * 3


def test_a_query_that_cannot_be_asked_takes_no_other_s_answer(here, capsys):
    assert said(capsys, "index", "-", "corpus.npy", "--out", "idx", "--dims", "8,32")[0] == 0
    rows = np.load("corpus.npy")[:300].copy()
    rows[[200, 299]] = 0
    np.save("asked.npy", rows)
    status, out, err = said(capsys, "search", "idx", "--queries", "asked.npy", "-k", "1", "--json")
    assert status == 2
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["query_id"] for one in found] == [str(row) for row in range(1, 300) if row != 201]
    assert all(one["hits"][0]["id"] == str(int(one["query_id"]) - 1) for one in found)
    assert f"2 of {len(rows)} queries got no answer (201, 300): 201: the query is a vector of zeros" in err
    assert err.count("\n") == 1
    np.save("asked.npy", rows[200:201])
    status, out, err = said(capsys, "search", "idx", "--queries", "asked.npy")
    assert (status, out) == (2, "")
    assert "1 of 1 queries got no answer: 1: the query is a vector of zeros" in err


def test_the_time_to_encode_holds_no_loading(here, texts, monkeypatch):
    """The encoder inside a model loads when it meets its first text, which no query may pay for."""
    clock = [0.0]
    load = encoder_module._load

    def slowly(source):
        clock[0] += 5
        return load(source)

    monkeypatch.setattr(encoder_module, "_load", slowly)
    monkeypatch.setattr(index_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    found = Index.open("idx").search(texts[0])
    assert (found.encode_ms, found.load_ms, clock) == (0, 5000, [5.0])


EVIL = "a\x1b[2J\r\x9b1m b\n 9.9999  forged \u202eabc\u2028"


def test_no_character_that_a_terminal_acts_on_is_printed(here, capsys):
    """Neither of ids, texts and names, nor of the errors about them."""
    index = Index.build("idx", HashModel(), [EVIL, "two cats"], ids=[EVIL, "plain"])
    found = Found(index.search("two cats"))
    shown = printable_page(found.text())
    assert len(shown.splitlines()) == 3  # a line a hit and one of figures: no id makes a line of its own
    acts = {char for char in EVIL if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cf")}
    assert not acts & set(shown) - {"\n"}
    assert r"a\x1b[2J\r\x9b1m b\n 9.9999  forged \u202eabc\u2028" in shown
    assert json.loads(printable_json(json.dumps(found.to_json(), ensure_ascii=False))) == found.to_json()
    status, out, err = said(capsys, "info", EVIL)
    assert (status, out) == (2, "")
    assert not acts & set(err) - {"\n"}
    assert err.count("\n") == 1
