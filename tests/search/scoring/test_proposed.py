"""Shortlists that other shortlists begin with: ties at a cut, deleted rows, and what a long one is cut to."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from benchmarks.search.search_hard import NESTING as HARD
from benchmarks.search.search_hard import recall, shapes, truth

from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.search.scoring.propose import propose
from anysize.search.scoring.proposed import Proposed
from anysize.search.scoring.scan import Scorer
from anysize.search.store.codes import MIN_ROWS

WIDTH, ROWS = 64, MIN_ROWS + 904
NESTING = Nesting(dims=(32, WIDTH))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Near-copies, of which many have the same code."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((40, WIDTH))
    noise = 0.3 * rng.standard_normal((ROWS, WIDTH)) / (1 + np.arange(WIDTH))
    rows = centres[rng.integers(40, size=ROWS)] + noise
    return Index.build(tmp_path_factory.mktemp("p") / "i", None, rows.astype(np.float32), nesting=NESTING, hnsw=True)


def ids(results):
    return [hit.id for hit in results.hits]


def test_of_rows_that_score_the_same_at_the_cut_none_is_kept():
    rows, scores = np.array([9, 4, 7, 1, 3]), np.array([0.1, 0.2, 0.2, 0.2, 0.5], np.float32)
    some = Proposed.scored(rows, scores, complete=False)
    assert [some.first(keep).tolist() for keep in (0, 1, 2, 3, 4)] == [[], [9], [9], [9], [9, 4, 7, 1]]
    assert some.first(5) is None
    assert Proposed.scored(rows, scores, complete=True).first(5).tolist() == rows.tolist()
    assert Proposed.scored(rows, scores, complete=True).first(8).tolist() == rows.tolist()
    assert Proposed.ordered(rows).first(3).tolist() == [9, 4, 7]
    assert Proposed.scored(rows, scores, complete=True).without(4).first(3).tolist() == [9, 7, 1]
    assert Proposed.scored(rows, scores, complete=True).without(4).first(2).tolist() == [9]
    assert Proposed.scored(rows[:0], scores[:0], complete=True).first(3).tolist() == []


def test_codes_propose_the_same_first_rows_however_many_are_asked_for(index):
    (segment,) = index.segments
    queries = segment.vectors(np.arange(0, ROWS, 100))[:, :32]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    short = propose(segment, "codes-32", queries, 100)[0]
    cut = 0
    for more in (101, 333, 1600):
        for a, b in zip(short, propose(segment, "codes-32", queries, more)[0], strict=True):
            assert sorted(a.first(100)) == sorted(b.first(100))
            cut += len(a.first(100)) < 100
    assert cut  # there were ties at the cut


@pytest.mark.parametrize("count", [900, 3000])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_a_long_list_is_cut_to_the_rows_that_its_prefix_ranks_first(index, metric, count):
    (segment,) = index.segments
    rng, start = np.random.default_rng(0), 7
    rows = np.sort(rng.choice(ROWS, count, replace=False))
    scorer = Scorer([segment], metric)
    scorer.starts = scorer.starts + start
    wide = segment.vectors(rows)[:, :32].astype(np.float64)
    for query in rng.standard_normal((20, WIDTH)):
        scores = wide @ query[:32]
        if metric == "cosine":
            scores = scores / np.linalg.norm(wide, axis=1) / np.linalg.norm(query[:32])
        best, read = scorer.narrow(query, rows + start, 32, 50, 0)
        assert (best.rows - start).tolist() == np.sort(rows[np.argsort(-scores, kind="stable")[:50]]).tolist()
        np.testing.assert_allclose(np.sort(best.scores), np.sort(scores)[-50:], rtol=1e-12)
        assert read == count * 4 * (33 if count > 1050 else 32)


def test_a_shortlist_that_the_prefix_cuts_finds_what_brute_force_finds(index):
    (segment,) = index.segments
    tier = segment.plans.tiers[0]
    assert tier.scan == "codes"
    assert 0 < tier.then < tier.keep
    rows = segment.vectors(slice(0, ROWS))
    queries = rows[::100] + 0.05 * np.random.default_rng(1).standard_normal((len(rows[::100]), WIDTH))
    answers = index.search_many(queries, k=10)
    found = [[int(hit.id) for hit in one.hits] for one in answers]
    assert recall(truth(rows, queries), found, 10) >= 0.99
    first, second = answers[0].stages
    assert (first.candidates, first.kept, second.candidates, second.kept) == (ROWS, tier.then, tier.then, 10)
    assert 32 * ROWS < first.multiply_adds <= 32 * (ROWS + tier.keep)


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_fewer_hits_begin_more_though_most_near_rows_are_deleted(index, tmp_path, share):
    (segment,) = index.segments
    assert segment.plans.tiers[1].scan == segment.plans.tiers[0].scan == "codes"
    rows = segment.vectors(slice(0, ROWS))
    shutil.copytree(index.path, tmp_path / "i")
    other = Index.open(tmp_path / "i")
    gone = np.argsort(-(rows @ rows[3]))[1 : 1 + int(share * ROWS)]
    if share:
        other.delete([str(row) for row in gone])
    for approximate in (None, "hnsw"):
        for query in rows[[0, 3]]:
            everything = ids(other.search(query, k=ROWS, approximate=approximate))
            assert len(set(everything)) == len(everything) == ROWS - len(gone)
            for k in (1, 10, 11, 100, 101, 400):
                assert ids(other.search(query, k=k, approximate=approximate)) == everything[:k]


def test_rows_of_clusters_that_miss_together_do_not_pass_by_luck(tmp_path):
    # Of this draw 200 sampled rows find .993 of 100 hits where new queries find .987.
    rows, queries = shapes(2)["clusters"]
    index = Index.build(tmp_path / "i", None, rows, nesting=HARD)
    tier = index.segments[0].plans.tiers[1]
    assert tier.scan == "codes"
    found = [[int(hit.id) for hit in one.hits] for one in index.search_many(queries, k=100)]
    assert recall(truth(rows, queries), found, 100) >= 0.99
