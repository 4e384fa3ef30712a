from __future__ import annotations

import math

import numpy as np
import pytest

from anysize.core.data.records import Items, Retrieval
from anysize.core.errors import AnysizeError
from anysize.evaluation.ranking import average_precision, evaluate, judge, mrr, ndcg, precision, recall, score

CUTOFFS = (1, 3, 10, 40)


def textbook(ranking: list[str], judged: dict[str, float], k: int) -> dict[str, float]:
    """Every metric of one query, in plain loops over document ids."""
    relevant = {name: gain for name, gain in judged.items() if gain > 0}
    dcg = ideal = precisions = 0.0
    hits, first = 0, None
    for place, name in enumerate(ranking[:k], start=1):
        if name in relevant:
            hits += 1
            first = first or place
            dcg += relevant[name] / math.log2(place + 1)
            precisions += hits / place
    for place, gain in enumerate(sorted(relevant.values(), reverse=True)[:k], start=1):
        ideal += gain / math.log2(place + 1)
    return {
        "ndcg": dcg / ideal,
        "recall": hits / len(relevant),
        "precision": hits / k,
        "mrr": 1 / first if first else 0.0,
        "map": precisions / len(relevant),
        "map_min": precisions / min(k, len(relevant)),
        "mrl_map": precisions / k,
        "mrl_recall": hits / 1300,
    }


@pytest.fixture(scope="module")
def case():
    random = np.random.default_rng(0)
    documents = [f"d{n}" for n in range(60)]
    queries = [f"q{n}" for n in range(25)]
    ranked = np.stack([random.permutation(60)[:40] for _ in queries])
    qrels = {
        query: {documents[n]: float(random.integers(0, 4)) for n in random.permutation(60)[: random.integers(2, 15)]}
        for query in queries
    }
    for query in queries:
        qrels[query]["d0"] = 1.0
        qrels[query]["not in the corpus"] = 2.0
    return ranked, queries, documents, qrels


@pytest.mark.parametrize("k", CUTOFFS)
def test_every_metric_is_the_textbook_one(case, k):
    ranked, queries, documents, qrels = case
    expected = [
        textbook([documents[n] for n in row], qrels[query], k) for row, query in zip(ranked, queries, strict=True)
    ]
    judged = judge(*case)
    found = {
        "ndcg": ndcg(judged, k),
        "recall": recall(judged, k),
        "precision": precision(judged, k),
        "mrr": mrr(judged, k),
        "map": average_precision(judged, k),
        "map_min": average_precision(judged, k, "min"),
        "mrl_map": average_precision(judged, k, "k"),
        "mrl_recall": recall(judged, k, out_of=1300),
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, [one[name] for one in expected], rtol=1e-12, err_msg=name)
        if name != "map_min":
            assert score(judged, f"{name}@{k}") == pytest.approx(np.mean([one[name] for one in expected]))


@pytest.mark.parametrize("k", CUTOFFS)
def test_ndcg_is_that_of_scikit_learn(k):
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    truth = random.integers(0, 4, (20, 50)).astype(float)
    truth[:, 0] = 1
    scores = random.permuted(np.tile(np.arange(50.0), (20, 1)), axis=1)
    documents = [str(n) for n in range(50)]
    queries = [str(n) for n in range(20)]
    qrels = {query: dict(zip(documents, row.tolist(), strict=True)) for query, row in zip(queries, truth, strict=True)}
    judged = judge(np.argsort(-scores, axis=1), queries, documents, qrels)
    assert score(judged, f"ndcg@{k}") == pytest.approx(sklearn.ndcg_score(truth, scores, k=k))


def test_an_empty_place_is_no_hit():
    judged = judge(np.array([[-1, 1]]), ["q"], ["a", "b"], {"q": {"b": 1.0}})
    assert mrr(judged, 2).tolist() == [0.5]
    assert precision(judged, 2).tolist() == [0.5]


def test_a_ranking_shorter_than_k_is_scored_out_of_k():
    judged = judge(np.array([[0]]), ["q"], ["a"], {"q": {"a": 1.0}})
    assert score(judged, "precision@10") == pytest.approx(0.1)
    assert score(judged, "ndcg@10") == pytest.approx(1.0)


def test_evaluate_gives_means_by_name():
    task = Retrieval(Items(["q", "r"], ["", ""]), Items(["a", "b"], ["", ""]), {"q": {"a": 1}, "r": {"a": 1}})
    assert evaluate(task, np.array([[0, 1], [1, 0]]), ("mrr@10", "recall@1")) == {"mrr@10": 0.75, "recall@1": 0.5}


@pytest.mark.parametrize("name", ["ndcg", "ndcg@", "ndcg@0", "bleu@4", "ndcg@x"])
def test_a_name_that_is_no_metric(case, name):
    with pytest.raises(AnysizeError, match="is not a retrieval metric"):
        score(judge(*case), name)


def test_rankings_and_normalisers_that_do_not_fit_are_refused():
    with pytest.raises(AnysizeError, match="one row for each of 2 queries"):
        judge(np.array([[0]]), ["q", "r"], ["a"], {})
    with pytest.raises(AnysizeError, match="relevant, min or k"):
        average_precision(judge(np.array([[0]]), ["q"], ["a"], {"q": {"a": 1}}), 1, "mean")
