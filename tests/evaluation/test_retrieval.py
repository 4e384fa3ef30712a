from __future__ import annotations

import math

import numpy as np
import pytest

from anysize.core.data.data import Data
from anysize.core.data.records import Items, Table
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.measure import measure
from anysize.evaluation.retrieval import NeighbourEvaluator, RetrievalEvaluator
from anysize.text.depth.model import NestedEncoder
from anysize.text.embedder.model import Embedder
from tests.conftest import WIDTH, sentences, spread_vectors
from tests.evaluation.measured import measured


def judged(seed: int = 0) -> Data:
    """30 documents, 6 queries, one to three relevant documents with gains 1 and 2, as vectors."""
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((30, WIDTH)).astype(np.float32)
    queries = documents[:6] + rng.standard_normal((6, WIDTH)).astype(np.float32)
    qrels = {f"q{row}": {f"d{row}": 2.0, f"d{row + 6}": 1.0, f"d{row + 12}": 0.0} for row in range(6)}
    qrels["q5"] = {"d5": 1.0}
    return Data(
        "j",
        "f",
        Items([f"d{row}" for row in range(30)], documents, "vector"),
        Items([f"q{row}" for row in range(6)], queries, "vector"),
        {"test": qrels},
    )


def views(model):
    return {"nested": [model.at(size) for size in model.nesting]}


def plain_ndcg(data: Data, dims: int) -> float:
    documents, total = data.corpus.vectors[:, :dims].astype(float), 0.0
    for row, name in enumerate(data.queries.ids):
        query = data.queries.vectors[row, :dims].astype(float)
        scores = documents @ query / np.linalg.norm(documents, axis=1) / np.linalg.norm(query)
        gains = data.qrels["test"][name]
        order = sorted(range(30), key=lambda at: -scores[at])[:10]
        found = sum(gains.get(f"d{at}", 0) / math.log2(place + 2) for place, at in enumerate(order))
        best = sum(gain / math.log2(place + 2) for place, gain in enumerate(sorted(gains.values(), reverse=True)))
        total += found / best
    return total / len(data.queries)


def test_retrieval_agrees_with_a_plain_computation_at_each_size():
    data = judged()
    records = measured(RetrievalEvaluator(), views(Embedder(Nesting(dims=(4, 16, WIDTH)), WIDTH)), data)
    assert [(record.arm, record.size.dims, record.bytes) for record in records] == [
        ("nested", 4, 16),
        ("nested", 16, 64),
        ("nested", WIDTH, 128),
    ]
    for record in records:
        assert record.metrics["ndcg@10"] == pytest.approx(plain_ndcg(data, record.size.dims), abs=1e-6)
        assert set(record.metrics) == {"ndcg@10", "recall@10", "recall@100", "mrr@10"}
        assert record.metrics["recall@100"] == 1.0
        assert record.ms > 0


def test_retrieval_reads_each_text_once_for_all_sizes(encoder, monkeypatch):
    reached = []
    real = encoder.model.encode

    def spy(texts, **options):
        reached.extend(texts)
        return real(texts, **options)

    texts = sentences(14)
    data = Data("p", "f", table=Table({"anchor": texts[:7], "positive": texts[7:]}))
    model = Embedder(Nesting(dims=(4, 8, 16)), WIDTH, encoder=encoder)
    monkeypatch.setattr(encoder.model, "encode", spy)
    monkeypatch.setattr("anysize.core.verbs.measure.timed", lambda records, runs: records)
    measured(RetrievalEvaluator(), {"nested": views(model)["nested"], "other": views(model)["nested"]}, data)
    assert sorted(reached) == sorted(texts)


def test_held_out_keeps_only_the_anchors_that_training_did_not_see(encoder):
    anchors, positives = sentences(40), sentences(40, seed=9)
    data = Data("p", "f", table=Table({"anchor": anchors, "positive": positives}))
    model = Embedder(Nesting(dims=(4,)), WIDTH, encoder=encoder)
    left = 40 - len(data.training_pairs())
    evaluator = RetrievalEvaluator()
    assert 0 < left < 40
    held = evaluator.prepare(data, True).said
    assert held == f"retrieval: {left} queries held out from training over 40 documents"
    assert evaluator.prepare(data, False).said == "retrieval: 40 queries over 40 documents"
    assert len(measured(evaluator, views(model), data, held_out=True)) == 1


def test_the_test_split_comes_before_dev():
    data = judged()
    both = Data("j", "f", data.corpus, data.queries, {"dev": {"q0": {"d1": 1.0}}, "test": data.qrels["test"]})
    only = Data("j", "f", data.corpus, data.queries, {"dev": {"q0": {"d1": 1.0}}})
    assert RetrievalEvaluator().prepare(both, False).said.startswith("retrieval: 6 queries")
    assert RetrievalEvaluator().prepare(only, False).said.startswith("retrieval: 1 queries")


def test_what_retrieval_accepts():
    data = judged()
    assert RetrievalEvaluator().accepts(data)
    assert RetrievalEvaluator().accepts(Data("p", "f", table=Table({"anchor": ["a"], "positive": ["b"]})))
    assert not RetrievalEvaluator().accepts(Data("t", "f", corpus=data.corpus))
    assert not RetrievalEvaluator().accepts(Data("t", "f", data.corpus, data.queries, {"train": data.qrels["test"]}))


def test_judgements_that_find_nothing_relevant_are_refused():
    data = judged()
    none = Data("j", "f", data.corpus, data.queries, {"test": {"q0": {"d0": 0.0}}})
    with pytest.raises(DataError, match="relevant"):
        measured(RetrievalEvaluator(), views(Embedder(Nesting(dims=(4,)), WIDTH)), none)


def test_neighbours_agree_with_a_plain_computation():
    vectors = spread_vectors(40)
    data = Data("v", "f", corpus=Items([str(row) for row in range(40)], vectors, "vector"))
    evaluator = NeighbourEvaluator()
    records = measured(evaluator, views(Embedder(Nesting(dims=(4, 28, WIDTH)), WIDTH)), data)

    def nearest(rows):
        unit = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
        scores = unit @ unit.T
        np.fill_diagonal(scores, -np.inf)
        return [set(np.argsort(-row)[:10]) for row in scores]

    for record in records:
        pairs = zip(nearest(vectors), nearest(vectors[:, : record.size.dims]), strict=True)
        expected = np.mean([len(one & other) / 10 for one, other in pairs])
        assert record.metrics == {"neighbours@10": pytest.approx(expected, abs=1e-6)}
    assert records[-1].metrics["neighbours@10"] == 1.0
    assert "40 items among 40" in evaluator.prepare(data, False).said


def test_a_sample_of_items_asks_but_all_answer():
    vectors = spread_vectors(60)
    data = Data("v", "f", corpus=Items([str(row) for row in range(60)], vectors, "vector"))
    evaluator = NeighbourEvaluator(sample=5)
    (record,) = measured(evaluator, views(Embedder(Nesting(dims=(28,)), WIDTH)), data)
    kept = record.metrics["neighbours@10"]
    assert round(kept * 50) == pytest.approx(kept * 50)
    assert "5 items among 60" in evaluator.prepare(data).said


def test_neighbours_need_enough_items():
    def data(count):
        return Data("v", "f", corpus=Items([str(row) for row in range(count)], spread_vectors(count), "vector"))

    assert not NeighbourEvaluator().accepts(data(11))
    assert NeighbourEvaluator().accepts(data(12))


def test_of_more_documents_more_may_be_asked_for():
    data, model = judged(), Embedder(Nesting(dims=(16,)), WIDTH)
    (record,) = measured(RetrievalEvaluator(k=3), views(model), data)
    assert set(record.metrics) == {"ndcg@3", "recall@3", "recall@100", "mrr@3"}
    (deeper,) = measured(RetrievalEvaluator(), views(model), data)
    assert record.metrics["mrr@3"] <= deeper.metrics["mrr@10"]
    with pytest.raises(AnysizeError, match="k must be above zero"):
        RetrievalEvaluator(k=0)


def test_queries_may_be_embedded_at_another_size_where_sizes_can_be_compared(encoder_path):
    texts = sentences(24, 3)
    documents, queries = Items(list("abcdefghijklmnop"), texts[:16]), Items(["q", "r"], texts[16:18])
    data = Data("j", "f", documents, queries, {"test": {"q": {"a": 1.0}, "r": {"f": 1.0}}})
    model = NestedEncoder.from_pretrained(str(encoder_path), layers=(1, 2), dims=(8, WIDTH))
    frontier = measure(model, data, by="retrieval", query_sizes=["1:32"], arms=[])
    assert frontier.arms == ("nested", "queries at layers=1,dims=32", "original")
    (mixed,) = frontier.arm("queries at layers=1,dims=32")
    assert (str(mixed.size), mixed.bytes) == ("layers=2,dims=32", 4 * WIDTH)
    near = model.at(layers=1, dims=WIDTH).encode(queries.texts) @ model.encode(documents.texts).T
    places = [list(np.argsort(-row)).index(place) for row, place in zip(near, (0, 5), strict=True)]
    expected = np.mean([1 / (place + 1) if place < 10 else 0 for place in places])
    assert mixed.metrics["mrr@10"] == pytest.approx(expected)
    with pytest.raises(AnysizeError, match="queries of a embedder are compared at their own size alone"):
        measure(Embedder(Nesting(dims=(4, 8)), WIDTH), judged(), by="retrieval", query_sizes=["4"])
