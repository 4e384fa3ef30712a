from __future__ import annotations

import numpy as np
import pytest

from anysize.core.errors import AnysizeError
from anysize.evaluation import nearest as neighbours
from anysize.evaluation.nearest import directions, largest, rank, unit


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


def test_unit_leaves_zeros_alone():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))


@pytest.mark.parametrize("k", [1, 4, 15, 25])
def test_equal_documents_rank_by_position_and_fewer_begin_more(k):
    random = np.random.default_rng(5)
    documents = np.tile(random.standard_normal((61, 24)).astype(np.float32), (10, 1))
    queries = random.standard_normal((33, 24)).astype(np.float32)
    best = np.argsort(-(queries.astype(np.float64) @ documents[:61].astype(np.float64).T), axis=1)
    expected = (best[:, :, None] + 61 * np.arange(10)).reshape(len(queries), -1)  # all copies of one, then the next
    assert rank(queries, documents, k)[0].tolist() == expected[:, :k].tolist()


def test_more_equal_documents_than_are_held_still_rank_by_position():
    row = np.random.default_rng(6).standard_normal(24).astype(np.float32)
    found, scores = rank(row[None], np.tile(row, (500, 1)), 5)
    assert found.tolist() == [[0, 1, 2, 3, 4]]
    assert scores[0] == pytest.approx([row @ row] * 5)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 3e38])
def test_scores_that_are_not_finite_are_refused(wrong):
    documents = np.ones((30, 2), np.float32)
    documents[20, 0] = wrong
    with pytest.raises(AnysizeError, match=r"\(from 0\) has scores that are not finite"):
        rank(np.array([[0, 0.5], [3, 1]]), documents, 1)


def test_lengths_that_float32_cannot_square_are_scaled_too():
    rows = np.array([[3.0, 4.0]]) * np.array([[1e-38], [1e-25], [1.0], [1e25], [5e37]])
    assert unit(rows) == pytest.approx(np.tile([0.6, 0.8], (5, 1)), rel=1e-6)
    assert directions(np.array([[3e-300, 4e-300], [0, 0]])).tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]


def test_the_largest_are_the_first_of_equal_ones():
    random = np.random.default_rng(7)
    for keep in (1, 3, 50, 99, 100, 200):
        scores = random.integers(0, 4, 100).astype(float)
        assert largest(scores, keep).tolist() == sorted(np.argsort(-scores, kind="stable")[:keep].tolist())
