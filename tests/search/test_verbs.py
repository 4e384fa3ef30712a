"""`anysize index` and `anysize search`, as typed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from anysize.cli.main import run
from anysize.core.sizes.nesting import Nesting
from anysize.text.embedder.model import Embedder
from tests.search.helpers import vectors


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("corpus.npy", vectors(300, 32))
    np.save("query.npy", vectors(1, 32, seed=1)[0])
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
        (["search", "nowhere", "x"], "not an index"),
        (["search", "idx"], "give either"),
        (["search", "idx", "x"], "with a vector, not a text"),
        (["search", "idx", "--vector", "corpus.npy"], "one query, got 300"),
        (["search", "idx", "--vector", "model/anysize.json"], "cannot be read as a vector"),
        (["search", "idx", "--vector", "query.npy", "--stages", "dims=7:10,dims=32"], "trained for dims 8, 32"),
        (["search", "idx", "--vector", "query.npy", "-k", "0"], "at least 1"),
        (["index", "-", "corpus.npy", "--out", "model"], "not an index"),
        (["index", "-", "corpus.npy", "--out", "new", "--dims", "8,16"], "do not fit"),
        (["index", "model", "corpus.npy", "--out", "new", "--dims", "8,16"], "knows its own sizes"),
        (["index", "-", "nothing.npy", "--out", "new"], "nothing.npy"),
    ],
)
def test_bad_input_is_one_sentence(here, capsys, words, message):
    assert said(capsys, "index", "-", "corpus.npy", "--out", "idx", "--dims", "8,32")[0] == 0
    status, out, err = said(capsys, *words)
    assert (status, out) == (2, "")
    assert message in err
    assert not (here / "new").exists()
