"""The default search on data of many shapes against brute force in float64; ties, magnitudes, and what info says."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysize.core.errors import DataError
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.search.scoring.pool import Pool
from anysize.search.store.codes import MIN_ROWS
from tests.search.helpers import scores

WIDTH, ROWS, ASKED = 64, MIN_ROWS + 200, 40
NESTING = Nesting(dims=(32, WIDTH))
SPECTRUM = (1 + np.arange(WIDTH)) ** -0.5


def normal(rng, count):
    return rng.standard_normal((count, WIDTH))


def near(rng, count, centres, noise):
    return centres[rng.integers(len(centres), size=count)] + noise * normal(rng, count) * SPECTRUM


SHAPES = {
    "spectrum": lambda rng, n: normal(rng, n) * SPECTRUM,
    "clusters": lambda rng, n: near(rng, n, normal(rng, 60) * SPECTRUM, 0.4),
    "clusterless": lambda rng, n: normal(rng, n),
    "near copies": lambda rng, n: near(rng, n, normal(rng, 3) * SPECTRUM, 0.05),
    "equal rows": lambda rng, n: np.concatenate([np.tile(normal(rng, 1), (n - n // 4, 1)), normal(rng, n // 4)]),
    "copies": lambda rng, n: np.tile(normal(rng, n // 10 + 1), (10, 1))[:n] * rng.uniform(0.5, 2, (n, 1)),
    "words": lambda rng, n: (rng.random((n, WIDTH)) < 0.05) + np.eye(WIDTH)[rng.integers(WIDTH, size=n)],
    "one-hot": lambda rng, n: np.eye(WIDTH)[rng.integers(WIDTH, size=n)],
    "common mean": lambda rng, n: (normal(rng, n) + 5) * SPECTRUM,
    "rows without a prefix": lambda rng, n: normal(rng, n) * (np.arange(WIDTH) >= 32),
    "queries without a prefix": lambda rng, n: normal(rng, n) * SPECTRUM,
}


def brute(rows, queries, metric):
    """Scores (q, n) in float64; a cosine does not depend on lengths, which are taken out first."""
    queries = queries.astype(np.float64)
    if metric == "dot":
        return queries @ rows.astype(np.float64).T
    return np.stack([scores(unit64(rows), query) for query in unit64(queries)])


def unit64(rows):
    rows = rows.astype(np.float64)
    rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-300)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def ids(results):
    return [int(hit.id) for hit in results.hits]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=1, derandomize=True, database=None)
@given(data=st.data())
def test_every_search_finds_what_brute_force_finds(tmp_path_factory, shape, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    metric = data.draw(st.sampled_from(["cosine", "cosine", "dot"]))
    drawn = SHAPES[shape](rng, ROWS + ASKED)
    drawn = drawn[rng.permutation(len(drawn))]
    queries = drawn[:ASKED] * data.draw(st.sampled_from([1e-30, 1.0, 1e30]))
    rows = (drawn[ASKED:] * data.draw(st.sampled_from([1e-30, 1.0, 1e30]))).astype(np.float32)
    if shape == "queries without a prefix":
        queries[:, :32] = 0
    index = Index.build(tmp_path_factory.mktemp("i") / "i", None, rows, nesting=NESTING, metric=metric, hnsw=True)
    more = SHAPES[shape](rng, 50).astype(np.float32)
    index.add(more)
    true = brute(np.concatenate([rows, more]), queries, metric)
    gone = np.unique([*np.argsort(-true[0])[:15], *rng.choice(len(rows), 300, replace=False)])
    index.delete([str(row) for row in gone])
    true[:, gone] = -np.inf
    last = np.sort(true, axis=1)[:, ::-1]
    slack = 1e-9 * np.maximum(np.abs(last[:, :1]), np.finfo(np.float64).tiny)
    for plan in ({}, {"approximate": "hnsw"}, {"stages": "dims=64"}, {"stages": "dims=32:600,dims=64"}):
        some = 8 if "stages" in plan else ASKED
        found = index.search_many(queries[:some], k=130, **plan)
        assert all(len(set(ids(one))) == 130 for one in found)
        for k in (1, 10, 25):
            fewer = index.search_many(queries[:8], k=k, **plan)
            assert [ids(one) for one in fewer] == [ids(one)[:k] for one in found[:8]], (plan, k)
            good = [(true[at, ids(one)[:k]] >= last[at, k - 1] - slack[at]).mean() for at, one in enumerate(found)]
            assert np.mean(good) >= {"dims=64": 1, "dims=32:600,dims=64": 0}.get(plan.get("stages"), 0.99), (plan, k)
        for at, one in enumerate(found):
            values = np.array([hit.score for hit in one.hits])
            np.testing.assert_allclose(values, true[at, ids(one)], rtol=1e-9, atol=slack[at, 0])
            if "stages" in plan:  # of one page, so best first, and equal scores by row
                assert (np.diff(values) <= 0).all()
                assert all(
                    a < b for a, b, step in zip(ids(one), ids(one)[1:], np.diff(values), strict=False) if not step
                )


def test_a_query_with_nothing_in_the_prefix_finds_what_it_finds_exactly(tmp_path):
    rows = np.random.default_rng(0).standard_normal((4096, 128)).astype(np.float32)
    query = np.where(np.arange(128) < 64, 0, rows[7])
    index = Index.build(tmp_path / "i", None, rows, nesting=Nesting(dims=(64, 128)))
    best = np.argsort(-scores(rows, query), kind="stable")[:10].tolist()
    assert ids(index.search(query)) == best
    assert best[0] == 7
    assert len(ids(index.search(query, stages="dims=64:200,dims=128"))) == 10
    assert ids(index.search(query, stages="dims=64:4096,dims=128")) == best


def test_pages_of_hits_join_without_a_gap_or_a_repeat(tmp_path):
    rng = np.random.default_rng(3)
    rows = SHAPES["near copies"](rng, ROWS + 60).astype(np.float32)
    index = Index.build(tmp_path / "i", None, rows[:ROWS], nesting=NESTING)
    index.add(rows[ROWS:])
    assert index.segments[0].plans.tiers[0].scan != "whole"
    for query in SHAPES["near copies"](np.random.default_rng(3), 3):
        everything = ids(index.search(query, k=10 * ROWS))
        assert sorted(everything) == list(range(ROWS + 60))
        for k in (3, 10, 11, 100, 101, 1000, 1001, 3000):
            assert ids(index.search(query, k=k)) == everything[:k]


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_equal_rows_come_in_their_order_and_fewer_hits_begin_more(tmp_path, metric):
    rows = np.tile(np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32), (10, 1))
    index = Index.build(tmp_path / "i", None, rows[:2000], nesting=Nesting(dims=(8, 16)), metric=metric)
    index.add(rows[2000:])
    for query in np.random.default_rng(1).standard_normal((25, 16)):
        true = scores(rows[:300], query, metric)
        wanted = [copy * 300 + int(row) for row in np.argsort(-true) for copy in range(10)]
        for stages in (None, "dims=16", "dims=8:3000,dims=16"):
            for k in (1, 5, 10, 25, 50):
                assert ids(index.search(query, k=k, stages=stages)) == wanted[:k]
        # A cut among equal prefixes keeps the first of them.
        prefix = np.argsort(-scores(rows[:300], query, metric, 8))
        kept = sorted(copy * 300 + int(row) for row in prefix[:2] for copy in range(10 if row == prefix[0] else 5))
        assert sorted(ids(index.search(query, k=15, stages="dims=8:15,dims=16"))) == kept


@pytest.mark.parametrize("rows_scale", [1e-38, 1e-20, 1.0, 1e18, 1e37])
@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e-19, 1.0, 1e19, 1e30, 1e300])
def test_cosines_are_right_at_any_magnitude(tmp_path, rows_scale, scale):
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((30, 8)) * rows_scale).astype(np.float32)
    query = rng.standard_normal(8)
    index = Index.build(tmp_path / "i", None, rows, nesting=Nesting(dims=(4, 8)), block=3)
    found = index.search(query * scale, k=30)
    true = scores(unit64(rows), query)
    assert ids(found) == np.argsort(-true).tolist()
    np.testing.assert_allclose([hit.score for hit in found.hits], np.sort(true)[::-1], rtol=1e-12, atol=1e-12)
    assert ids(index.search(query * scale, k=30, stages="dims=4:30,dims=8")) == ids(found)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_inner_products_are_right_among_rows_of_all_magnitudes(tmp_path, scale):
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((60, 8)) * 10.0 ** rng.uniform(-38, 37, (60, 1))).astype(np.float32)
    rows[0] = np.finfo(np.float32).max
    query = rng.standard_normal(8) * scale
    found = Index.build(tmp_path / "i", None, rows, metric="dot").search(query, k=60)
    true = rows.astype(np.float64) @ query
    assert ids(found) == np.argsort(-true).tolist()
    np.testing.assert_allclose([hit.score for hit in found.hits], np.sort(true)[::-1], rtol=1e-12)


def test_a_query_that_cannot_be_scored_is_refused_by_name(tmp_path):
    index = Index.build(tmp_path / "i", None, np.eye(2, 8), metric="dot")
    with pytest.raises(DataError, match=r"above 3.4e\+38, too large for inner products"):
        index.search(np.full(8, 1e39))
    with pytest.raises(DataError, match=r"query 1 \(from 0\) holds NaN"):
        index.search_many(np.array([np.ones(8), np.full(8, np.nan)]))


def test_info_says_which_plan_was_chosen_and_why(tmp_path, anysize):
    rng = np.random.default_rng(0)
    built = {}
    for name, shape in {"good": "spectrum", "bad": "clusterless"}.items():
        rows = SHAPES[shape](rng, ROWS).astype(np.float32)
        built[name] = Index.build(tmp_path / name, None, rows, nesting=NESTING)
    words = {name: anysize("info", tmp_path / name, "--json").json for name in built}
    assert "codes of 32 dims, 100 rescored (recall 0.9" in json.dumps(words["good"])
    assert "whole rows (of what whole rows find for 200 sampled rows, codes found 0." in json.dumps(words["bad"])
    assert built["good"].search(rows[0] * 0 + SPECTRUM).stages[-1].dims == WIDTH
    # An index that is older than the check is scanned whole, until it is compacted.
    path = tmp_path / "good" / "index.json"
    value = json.loads(path.read_text())
    del value["segments"][0]["plans"], value["sha256"]
    value["sha256"] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(value))
    old, query = Index.open(tmp_path / "good"), SHAPES["spectrum"](rng, 1)[0]
    assert [stage.scan for stage in old.search(query).stages] == ["vectors"]
    assert [stage.scan for stage in old.search(query, stages="dims=32:100,dims=64").stages] == ["vectors", "rescore"]
    assert "an older anysize wrote it" in json.dumps(anysize("info", tmp_path / "good", "--json").json)
    old.compact()
    assert [stage.scan for stage in old.search(query).stages] == ["codes", "rescore"]


def test_a_pool_of_equal_rows_keeps_the_first_ones_and_little_else():
    asked = []

    def exact(rows):
        asked.append(len(rows))
        return np.where(rows == 70_000, 2.0, 1.0)

    pool = Pool(5, exact)
    for start in range(0, 100_000, 10_000):
        upper = np.full(10_000, 1 + 1e-5, np.float32)
        upper[7::1000] = -np.inf
        if start == 70_000:
            upper[0] = 2
        pool.offer(start, upper, np.full(10_000, 2e-5, np.float32))
    left = pool.rows()
    assert left[:4].tolist() == [0, 1, 2, 3]
    assert 70_000 in left
    assert max(asked) < 12_000
