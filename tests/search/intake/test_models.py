"""Which model an index accepts, and how it finds its own again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.search import index as index_module
from anysize.search.intake import encoding
from anysize.search.intake.models import load_model
from anysize.text.embedder.model import Embedder
from tests.search.helpers import NESTING, HashModel, scores, vectors


@pytest.fixture
def embedder():
    weight = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))[0]
    return Embedder(Nesting(dims=(8, 16, 32)), 32, weight=weight)


def test_another_model_or_another_size_is_refused(tmp_path):
    Index.build(tmp_path / "i", HashModel("a", 16), ["one dog", "two cats"])
    assert Index.open(tmp_path / "i", model=HashModel("a")).search("one dog").hits[0].text == "one dog"
    with pytest.raises(CheckpointError, match="another model"):
        Index.open(tmp_path / "i", model=HashModel("b"))
    with pytest.raises(AnysizeError, match="open it with model="):
        Index.open(tmp_path / "i").search("one dog")


def test_bytes_that_are_not_text_are_refused_by_their_row(tmp_path):
    half = "caf\udce9"  # what Python makes of the byte 0xe9 on a command line
    with pytest.raises(DataError, match=r"document 1 \(from 0\) holds bytes that are not UTF-8"):
        Index.build(tmp_path / "i", HashModel(), ["one dog", half])
    index = Index.build(tmp_path / "i", HashModel(), ["one dog", "two cats"])
    with pytest.raises(DataError, match=r"query 0 .* not UTF-8"):
        index.search(half)


def test_loading_the_model_is_no_part_of_a_query_s_time(tmp_path, embedder, monkeypatch):
    embedder.save(tmp_path / "model")
    Index.build(tmp_path / "i", str(tmp_path / "model"), vectors(20, 32))

    clock = [0.0]

    def slowly(*given):
        clock[0] += 5
        return load_model(*given)

    monkeypatch.setattr(encoding, "load_model", slowly)
    monkeypatch.setattr(index_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert Index.open(tmp_path / "i").search(vectors(1, 32)[0]).encode_ms == 0
    assert clock == [5.0]


def test_vectors_without_a_model_take_no_texts_and_no_model(tmp_path):
    index = Index.build(tmp_path / "i", None, vectors(5), nesting=NESTING)
    with pytest.raises(DataError, match="search it with a vector"):
        index.search("dog")
    with pytest.raises(CheckpointError, match="without a model"):
        Index.open(tmp_path / "i", model=HashModel())


def test_a_saved_model_is_found_again_and_encodes_items_and_queries_alike(tmp_path, embedder):
    embedder.save(tmp_path / "model")
    corpus = vectors(60, 32)
    index = Index.build(tmp_path / "i", str(tmp_path / "model"), corpus)
    encoded = embedder.encode(corpus)
    query = vectors(1, 32, seed=1)[0]
    found = Index.open(tmp_path / "i").search(query)
    expected = scores(encoded, embedder.encode(query[None])[0])
    assert [int(hit.id) for hit in found.hits] == np.argsort(-expected)[:10].tolist()
    index.add(corpus[:3] * 2, ids=["x", "y", "z"])
    assert len(index) == 63


def test_a_model_that_was_replaced_is_refused(tmp_path, embedder):
    embedder.save(tmp_path / "model")
    small = embedder.at(dims=16)
    Index.build(tmp_path / "i", small, vectors(20, 32), model_path=tmp_path / "model")
    index = Index.open(tmp_path / "i")
    assert index.model.size.dims == 16
    assert len(index.search(vectors(1, 32)[0]).hits) == 10
    Embedder(embedder.nesting, 32, weight=torch.eye(32)).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="another model"):
        Index.open(tmp_path / "i").search(vectors(1, 32)[0])


def test_texts_are_not_added_to_vectors(tmp_path, embedder):
    index = Index.build(tmp_path / "i", HashModel(), ["one dog"])
    assert index.search(HashModel().encode(["one dog"])).hits[0].text == "one dog"

    class Both(HashModel):
        def encode(self, items, *, side=None):
            return items if isinstance(items, np.ndarray) else super().encode(items)

    encoded = Index.build(tmp_path / "k", Both(), HashModel().encode(["one dog", "two cats"]))
    assert encoded.search("two cats").hits[0].id == "1"
    mixed = Index.build(tmp_path / "j", Both(), ["one dog"])
    with pytest.raises(DataError, match="holds texts"):
        mixed.add(np.ones((1, 32), np.float32))
    assert len(index) == len(mixed) == 1
