"""The same staged query gives the same hits from our files and from Qdrant's local mode."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.search import Index
from anysize.search.backend import Backend
from anysize.search.qdrant import QdrantIndex
from tests.search.helpers import NESTING, HashModel, scores, vectors

client = pytest.importorskip("qdrant_client")


@pytest.fixture
def memory():
    store = client.QdrantClient(":memory:")
    yield store
    store.close()


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("stages", [None, "dims=16:60,dims=96", "dims=16:60,dims=32:20,dims=96", "dims=96"])
def test_both_back_ends_give_the_same_hits(tmp_path, memory, metric, stages):
    corpus = vectors(300)
    ours = Index.build(tmp_path / "i", None, corpus, nesting=NESTING, metric=metric)
    theirs = QdrantIndex.build(memory, "c", None, corpus, nesting=NESTING, metric=metric, sizes=[16, 32])
    assert isinstance(ours, Backend)
    assert isinstance(theirs, Backend)
    for query in vectors(5, seed=1):
        a, b = ours.search(query, stages=stages), theirs.search(query, stages=stages)
        assert [hit.id for hit in a.hits] == [hit.id for hit in b.hits]
        np.testing.assert_allclose([h.score for h in a.hits], [h.score for h in b.hits], rtol=1e-4, atol=1e-5)
        assert [(s.dims, s.candidates, s.kept) for s in a.stages] == [(s.dims, s.candidates, s.kept) for s in b.stages]
        assert a.bytes_read > 0
        assert (b.bytes_read, b.to_json()["bytes_read"]) == (None, None)  # unknown, which is not none read


@pytest.mark.parametrize(("metric", "rows"), [("cosine", 1e-30), ("cosine", 1e30), ("dot", 1.0)])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_lengths_that_a_server_could_not_hold(memory, metric, rows, scale):
    corpus, query = vectors(40), vectors(1, seed=1)[0].astype(np.float64)
    index = QdrantIndex.build(memory, "c", None, corpus * np.float32(rows), nesting=NESTING, metric=metric)
    found, true = index.search(query * scale), scores(corpus, query, metric) * (scale if metric == "dot" else 1)
    assert [int(hit.id) for hit in found.hits] == np.argsort(-true)[:10].tolist()
    np.testing.assert_allclose([hit.score for hit in found.hits], np.sort(true)[::-1][:10], rtol=1e-4)


def test_texts_additions_and_deletions(memory):
    index = QdrantIndex.build(memory, "c", HashModel(), ["one dog", "two cats"], ids=["d", "c"], sizes=[8])
    assert index.search("two cats").hits[0].text == "two cats"
    index.add(["three birds"], ids=["b"])
    with pytest.raises(DataError, match="'b' is given twice or already"):
        index.add(["x"], ids=["b"])
    with pytest.raises(DataError, match="'q'"):
        index.delete(["b", "q"])
    index.delete("b")
    assert sorted(hit.id for hit in index.search("three birds").hits) == ["c", "d"]
    with pytest.raises(SizeError, match="trained for dims 8, 32"):
        index.search("one dog", stages="dims=16:10,dims=32")
    with pytest.raises(AnysizeError, match="exists"):
        QdrantIndex.build(memory, "c", HashModel(), ["one dog"])


def test_without_the_client_the_extra_is_named(memory, monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(AnysizeError, match=r"anysize\[qdrant\]"):
        QdrantIndex.build(memory, "c", None, vectors(3))
