from __future__ import annotations

import numpy as np
import pytest

from anysize.core.errors import AnysizeError
from anysize.evaluation import nearest as neighbours
from anysize.evaluation.nearest import knn_accuracy, neighbour_overlap, rank, unit


def plain_rank(queries, documents, k):
    rows = []
    for query in queries:
        scores = [
            (-sum(float(a) * float(b) for a, b in zip(query, row, strict=True)), n) for n, row in enumerate(documents)
        ]
        rows.append([n for _, n in sorted(scores)[:k]])
    return np.array(rows)


@pytest.mark.parametrize("k", [1, 3, 17, 20, 99])
@pytest.mark.parametrize("at_once", [1, 60, 1 << 25])
def test_rank_is_the_sorted_one_with_ties_by_position(monkeypatch, k, at_once):
    monkeypatch.setattr(neighbours, "_SCORES_AT_ONCE", at_once)
    random = np.random.default_rng(0)
    queries = random.integers(-1, 2, (11, 4)).astype(np.float32)  # whole numbers: many exact ties
    documents = random.integers(-1, 2, (20, 4)).astype(np.float32)
    found, scores = rank(queries, documents, k)
    assert found.tolist() == plain_rank(queries, documents, k).tolist()
    assert scores.dtype == np.float32
    assert scores.tolist() == np.take_along_axis(queries @ documents.T, found, axis=1).tolist()


def test_rank_agrees_with_faiss():
    faiss = pytest.importorskip("faiss")
    random = np.random.default_rng(1)
    queries, documents = (random.standard_normal((count, 16), dtype=np.float32) for count in (30, 500))
    index = faiss.IndexFlatIP(16)
    index.add(documents)
    scores, found = index.search(queries, 10)
    mine, values = rank(queries, documents, 10)
    assert mine.tolist() == found.tolist()
    np.testing.assert_allclose(values, scores, rtol=1e-5)


def test_rank_refuses_what_cannot_be_ranked():
    with pytest.raises(AnysizeError, match="rows of one width"):
        rank(np.zeros((1, 2)), np.zeros((1, 3)), 1)
    with pytest.raises(AnysizeError, match="best 0 of 1"):
        rank(np.zeros((1, 2)), np.zeros((1, 2)), 0)
    with pytest.raises(AnysizeError, match="best 1 of 0"):
        rank(np.zeros((1, 2)), np.zeros((0, 2)), 1)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_knn_accuracy_is_the_plain_vote(k):
    random = np.random.default_rng(2)
    train, test = random.standard_normal((60, 3)), random.standard_normal((40, 3))
    labels, truth = random.choice(["a", "b", "c"], 60), random.choice(["a", "b", "c"], 40)
    right = 0
    for row, true in zip(test, truth, strict=True):
        nearest = np.argsort([-row @ other / np.linalg.norm(other) for other in train])[:k]
        votes = [str(labels[n]) for n in nearest]
        most = max(votes.count(vote) for vote in votes)
        right += next(vote for vote in votes if votes.count(vote) == most) == true
    assert knn_accuracy(train, labels, test, truth, k) == pytest.approx(right / 40)


def test_knn_of_one_is_that_of_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    random = np.random.default_rng(3)
    train, test = random.standard_normal((80, 4)), random.standard_normal((50, 4))
    labels, truth = random.integers(0, 5, 80), random.integers(0, 5, 50)
    model = neighbors.KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(train, labels)
    assert knn_accuracy(train, labels, test, truth) == pytest.approx(model.score(test, truth))


def test_overlap_is_the_plain_share():
    random = np.random.default_rng(4)
    reference = random.standard_normal((30, 8))
    prefix = reference[:, :3]

    def near(vectors, row):
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        order = np.argsort(-(vectors @ vectors[row]))
        return {n for n in order.tolist() if n != row and n in order[order != row][:5]}

    rows = [3, 7, 11]
    expected = np.mean([len(near(reference, row) & near(prefix, row)) / 5 for row in rows])
    assert neighbour_overlap(reference, prefix, 5, rows=rows) == pytest.approx(expected)
    assert 0 < neighbour_overlap(reference, prefix, 5) < 1


def test_overlap_with_itself_is_whole_even_among_copies():
    copies = np.ones((6, 2))  # a row is not always its own first neighbour here
    assert neighbour_overlap(copies, copies, 2) == 1.0
    with pytest.raises(AnysizeError, match="more than k=6"):
        neighbour_overlap(copies, copies, 6)


def test_unit_leaves_zeros_alone():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))
