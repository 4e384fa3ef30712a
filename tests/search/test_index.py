import datasets
import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysize.core.data.read import read
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index, Stage
from anysize.search.store.codes import MIN_ROWS
from tests.search.helpers import NESTING, HashModel, scores, vectors

COUNT = 700


@pytest.fixture(scope="module")
def corpus():
    return vectors(COUNT)


@pytest.fixture(scope="module", params=["cosine", "dot"])
def index(request, corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / request.param
    return Index.build(path, None, corpus, nesting=NESTING, metric=request.param, block=24)


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    path = tmp_path_factory.mktemp("coded") / "index"
    return Index.build(path, None, vectors(3 * MIN_ROWS), nesting=NESTING, hnsw=True)


def funnel(corpus, query, stages, k, metric):
    """The staged search of the paper, by brute force: rows in order, best first."""
    left = np.arange(len(corpus))
    for stage in stages:
        found = scores(corpus[left], query, metric, stage.dims)
        left = left[np.argsort(-found, kind="stable")[: stage.keep or k]]
    return left[:k]


def test_blocks_end_at_sizes_and_are_wide_enough(index):
    assert index.manifest.bounds == (0, 32, 64, 96)


def test_exact_search_equals_brute_force(index, corpus):
    for query in vectors(20, seed=1):
        found = index.search(query, k=12, stages=[Stage(96)])
        expected = scores(corpus, query, index.manifest.metric)
        order = np.argsort(-expected)[:12]
        assert [int(hit.id) for hit in found.hits] == order.tolist()
        np.testing.assert_allclose([hit.score for hit in found.hits], expected[order], rtol=1e-5, atol=1e-6)


@settings(max_examples=60)
@given(data=st.data())
def test_any_funnel_equals_the_same_funnel_by_brute_force(index, corpus, data):
    levels = data.draw(st.lists(st.sampled_from((8, 16, 32, 64)), unique=True, max_size=4).map(sorted))
    k = data.draw(st.integers(1, 40))
    keeps = data.draw(st.lists(st.integers(k, 300), min_size=len(levels), max_size=len(levels)).map(sorted))[::-1]
    stages = [Stage(dims, keep) for dims, keep in zip(levels, keeps, strict=True)] + [Stage(96)]
    query = vectors(1, seed=data.draw(st.integers(0, 1000)))[0]
    found = index.search(query, k=k, stages=stages)
    expected = funnel(corpus, query, stages, k, index.manifest.metric)
    assert [int(hit.id) for hit in found.hits] == expected.tolist()
    true = scores(corpus, query, index.manifest.metric)[expected]
    np.testing.assert_allclose([hit.score for hit in found.hits], true, rtol=1e-5, atol=1e-6)
    assert [stage.kept for stage in found.stages] == [*keeps, k]


def test_bytes_are_those_of_the_coordinates_read(index):
    found = index.search(vectors(1, seed=2)[0], k=5, stages="dims=32:100,dims=64:20,dims=96")
    expected = [COUNT * 4 * (32 + 1), 100 * 4 * 32, 20 * 4 * 32]  # a scan reads the lengths of the rows too
    assert [stage.bytes for stage in found.stages] == expected
    assert found.bytes_read == sum(expected)
    assert found.multiply_adds == COUNT * 32 + 100 * 64 + 20 * 96
    assert found.ms > 0


def test_many_queries_give_what_each_gives_alone(index):
    queries = vectors(9, seed=3)
    together = index.search_many(queries, k=7, stages="dims=16:50,dims=96")
    for query, many in zip(queries, together, strict=True):
        alone = index.search(query, k=7, stages="dims=16:50,dims=96")
        assert [hit.id for hit in many.hits] == [hit.id for hit in alone.hits]


def test_more_hits_than_items_gives_all(index, corpus):
    found = index.search(corpus[0], k=10 * COUNT)
    assert len(found.hits) == COUNT
    assert sorted(int(hit.id) for hit in found.hits) == list(range(COUNT))
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    assert len(index.search(corpus[0], k=10 * COUNT, stages="dims=8:700,dims=96").hits) == COUNT


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.full(96, np.nan, np.float32), "NaN"),
        (np.full(96, np.inf), "infinite"),
        (np.ones(64, np.float32), "64 coordinates for an index of 96"),
        (np.array(["a"]), "vectors"),
        (np.ones((2, 96), np.float32), "search_many"),
    ],
)
def test_bad_queries_are_refused(index, query, message):
    with pytest.raises(AnysizeError, match=message):
        index.search(query)


def test_a_query_of_zeros_has_no_cosine(index):
    if index.manifest.metric == "cosine":
        with pytest.raises(DataError, match="zeros"):
            index.search(np.zeros(96))
    else:
        assert index.search(np.zeros(96)).hits[0].score == 0


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_a_number_of_hits_is_positive(index, k):
    with pytest.raises(AnysizeError, match="at least 1"):
        index.search(np.ones(96), k=k)


def test_a_vector_of_zeros_scores_nothing(tmp_path):
    rows = np.vstack([np.zeros((1, 96)), vectors(5)])
    found = Index.build(tmp_path / "i", None, rows, nesting=NESTING).search(rows[3], k=6)
    assert {hit.id: hit.score for hit in found.hits}["0"] == 0


def test_codes_find_what_the_exact_prefix_scan_finds(coded):
    assert coded.manifest.codes == (32,)
    queries = vectors(50, seed=4)
    fast = coded.search_many(queries, stages="dims=32:200,dims=96")
    true = coded.search_many(queries, stages="dims=96")
    assert fast[0].stages[0].scan == "codes"
    assert true[0].stages[0].scan == "vectors"
    shared = [
        len({hit.id for hit in a.hits} & {hit.id for hit in b.hits}) / 10 for a, b in zip(fast, true, strict=True)
    ]
    assert np.mean(shared) > 0.99
    exact = {hit.id: hit.score for hit in true[0].hits}
    for hit in fast[0].hits:
        assert hit.score == pytest.approx(exact.get(hit.id, hit.score), abs=1e-6)
    assert fast[0].stages[0].bytes < true[0].stages[0].bytes / 10


def test_a_graph_shortlists_and_true_vectors_score(coded):
    query = vectors(1, seed=5)[0]
    near = coded.search(query, stages="dims=32:200,dims=96", approximate="hnsw")
    true = coded.search(query, stages="dims=96")
    assert near.stages[0].scan == "hnsw"
    assert [hit.id for hit in near.hits] == [hit.id for hit in true.hits]
    assert 0 < near.stages[0].bytes < true.stages[0].bytes


def test_the_graph_is_asked_where_it_was_checked(coded, tmp_path):
    assert [stage.scan for stage in coded.search(np.ones(96), approximate="hnsw").stages] == ["vectors"]  # unlike all
    found = coded.search(vectors(1, seed=5)[0], approximate="hnsw")
    assert [(stage.dims, stage.scan) for stage in found.stages] == [(32, "hnsw"), (96, "rescore")]
    few = Index.build(tmp_path / "i", None, vectors(300), nesting=NESTING, hnsw=True)
    assert [stage.dims for stage in few.search(np.ones(96), approximate="hnsw").stages] == [96]


def test_a_graph_must_be_there_and_fit(coded, index):
    with pytest.raises(AnysizeError, match="hnsw=True"):
        index.search(np.ones(96), approximate="hnsw")
    with pytest.raises(AnysizeError, match="dims=32; the first stage has dims=96"):
        coded.search(np.ones(96), stages="dims=96", approximate="hnsw")
    with pytest.raises(AnysizeError, match="choice is hnsw"):
        coded.search(np.ones(96), approximate="ivf")


def test_rows_deleted_after_coding_never_come_back(tmp_path):
    rows = vectors(MIN_ROWS + 10)
    index = Index.build(tmp_path / "i", None, rows, nesting=NESTING)
    query = rows[17]
    gone = [hit.id for hit in index.search(query, k=300, stages="dims=32:600,dims=96").hits]
    index.delete(gone)
    found = index.search(query, k=300, stages="dims=32:600,dims=96")
    assert len(found.hits) == 300
    assert not {hit.id for hit in found.hits} & set(gone)


def test_bytes_stored_stay_near_the_raw_vectors(coded, tmp_path):
    raw = coded.manifest.count * 96 * 4
    files = {name: file.bytes for entry in coded.manifest.segments for name, file in entry.files.items()}
    plain = sum(size for name, size in files.items() if name.startswith(("dims", "norms")))
    assert plain <= 1.05 * raw
    assert plain + files["codes-32.faiss"] <= 1.25 * raw


def test_adding_and_deleting_equal_building_anew(index, corpus, tmp_path):
    more = vectors(40, seed=6)
    path = tmp_path / "i"
    grown = Index.build(path, None, corpus, nesting=NESTING, metric=index.manifest.metric)
    grown.add(more)
    assert len(grown) == COUNT + 40
    grown.delete([str(row) for row in range(0, COUNT, 2)])
    everything = np.vstack([corpus, more])
    left = np.setdiff1d(np.arange(COUNT + 40), np.arange(0, COUNT, 2))
    for query in vectors(5, seed=7):
        order = left[np.argsort(-scores(everything[left], query, index.manifest.metric))[:10]]
        assert [hit.id for hit in grown.search(query).hits] == [str(row) for row in order]
    before = grown.search(more[3]).hits
    size = grown.bytes
    grown.compact()
    assert len(grown.segments) == 1
    assert len(grown) == len(left)
    assert grown.bytes < size
    assert [hit.id for hit in grown.search(more[3]).hits] == [hit.id for hit in before]
    grown.verify()
    assert sum(file.is_dir() for file in (path / "segments").iterdir()) == 1


def test_an_emptied_index_finds_nothing_and_grows_again(tmp_path):
    index = Index.build(tmp_path / "i", None, vectors(3), nesting=NESTING)
    index.delete(["0", "1", "2"])
    assert index.search(np.ones(96)).hits == ()
    index.compact()
    assert index.search(np.ones(96), stages="dims=8:10,dims=96").hits == ()
    index.add(vectors(2))
    assert sorted(hit.id for hit in index.search(np.ones(96)).hits) == ["3", "4"]


def test_unknown_ids_and_taken_ids_are_named_and_change_nothing(tmp_path):
    index = Index.build(tmp_path / "i", None, vectors(3), ids=["a", "b", "c"], nesting=NESTING)
    with pytest.raises(DataError, match="'x'"):
        index.delete(["a", "x"])
    with pytest.raises(DataError, match=r"'b' .*already in"):
        index.add(vectors(2), ids=["d", "b"])
    assert len(Index.open(index.path)) == 3
    index.delete("b")
    with pytest.raises(DataError, match="'b'"):
        index.delete("b")
    index.add(vectors(1), ids=["b"])
    assert len(index) == 3


@pytest.mark.parametrize(
    ("items", "ids", "message"),
    [
        ([], None, "nothing to index"),
        (np.zeros((0, 96), np.float32), None, "nothing to index"),
        (iter([]), None, "nothing to index"),
        (np.ones(96, np.float32), None, "rows of numbers"),
        ([[1.0, 2.0], [1.0]], None, "differ in width"),
        (np.ones((3, 96)), ["a", "b"], "one id per item"),
        (np.ones((3, 96)), ["a", "b", "c", "d"], "one id per item"),
        (np.ones((3, 96)), ["a", "b", "a"], "'a' .item 2. is given twice"),
        (np.ones((3, 96)), ["a", "", "c"], "item 1 has an empty id"),
        (["a text"], None, "texts need a model"),
        ("a text", None, "list of texts"),
    ],
)
def test_bad_items_are_refused_and_leave_no_directory(tmp_path, items, ids, message):
    with pytest.raises(DataError, match=message):
        Index.build(tmp_path / "i", None, items, ids=ids)
    assert not (tmp_path / "i").exists()


def test_the_first_row_that_is_not_finite_is_named_over_batches(tmp_path):
    bad = np.ones((30, 96), np.float32)
    bad[17, 3] = np.inf
    with pytest.raises(DataError, match="row 37 "):
        Index.build(tmp_path / "i", None, iter([np.ones((20, 96)), bad]))


def test_batches_of_another_width_are_refused(tmp_path):
    with pytest.raises(SizeError, match="64 coordinates for an index of 96"):
        Index.build(tmp_path / "i", None, iter([np.ones((2, 96)), np.ones((2, 64))]))
    with pytest.raises(SizeError, match="do not fit a nesting up to dims=96"):
        Index.build(tmp_path / "i", None, np.ones((2, 64)), nesting=NESTING)
    with pytest.raises(SizeError, match="dims alone"):
        Index.build(tmp_path / "i", None, np.ones((2, 64)), nesting=Nesting(layers=(1, 2), dims=(32, 64)))


def test_a_stream_of_batches_equals_one_array(tmp_path, corpus):
    whole = Index.build(tmp_path / "a", None, corpus, nesting=NESTING)
    parts = Index.build(tmp_path / "b", None, (corpus[at : at + 99] for at in range(0, COUNT, 99)), nesting=NESTING)
    shas = [{name: f.sha256 for name, f in one.manifest.segments[0].files.items()} for one in (whole, parts)]
    assert shas[0] == shas[1]


def test_options_are_checked(tmp_path):
    with pytest.raises(AnysizeError, match="cosine, dot"):
        Index.build(tmp_path / "i", None, np.ones((2, 8)), metric="l2")
    with pytest.raises(AnysizeError, match="block is 0; expected a whole number"):
        Index.build(tmp_path / "i", None, np.ones((2, 8)), block=0)


def test_a_directory_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not an index"):
        Index.build(tmp_path, None, np.ones((2, 8)))
    with pytest.raises(CheckpointError, match="not an index"):
        Index.build(tmp_path / "notes.txt", None, np.ones((2, 8)))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_ids_and_texts_of_items_come_back(tmp_path):
    texts = ["a dog", "", "grüße 🦊", "x " * 50_000]
    items = Items(["d1", "d2", "é", "d4"], texts)
    index = Index.build(tmp_path / "i", HashModel(), items)
    found = {hit.id: hit.text for hit in index.search("a dog", k=4).hits}
    assert found == dict(zip(items.ids, texts, strict=True))
    index.add(["a cat"], ids=["d5"])
    index.delete(["d1"])
    index.compact()
    assert {hit.id: hit.text for hit in index.search("a cat", k=1).hits} == {"d5": "a cat"}
    with pytest.raises(DataError, match=r"item 1 holds a character .* in its ids"):
        index.add(["a", "b"], ids=["fine", "half a pair: \ud83e"])
    with pytest.raises(DataError, match=r"document 2 \(from 0\) is 3"):
        index.add(["a", "b", 3])


def test_a_smaller_view_makes_a_smaller_index(tmp_path):
    index = Index.build(tmp_path / "i", HashModel(dims=16), ["one dog", "two cats"])
    assert index.nesting == Nesting(dims=(8, 16))
    assert index.search("cats two").hits[0].text == "two cats"
    assert index.search("cats two").hits[0].score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("holder", ["rows", "pandas", "datasets", "data"])
def test_a_table_is_indexed_by_its_vectors_and_ids(holder, tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    rows = [{"id": f"n{row}", "vector": vector.tolist()} for row, vector in enumerate(vectors)]
    hold = {"pandas": pandas.DataFrame, "datasets": datasets.Dataset.from_list, "data": read, "rows": list}[holder]
    index = Index.build(tmp_path / "i", None, hold(rows))
    index.add(hold([{"id": "last", "vector": [0.0, 0.0, 1.0, 1.0]}]))
    assert [hit.id for hit in index.search(vectors[2], k=2).hits] == ["n2", "last"]


def test_a_frame_of_numbers_alone_is_vectors(tmp_path):
    index = Index.build(tmp_path / "i", None, pandas.DataFrame(np.eye(3, dtype=np.float32)))
    assert [hit.id for hit in index.search(np.array([0.0, 1.0, 0.0]), k=1).hits] == ["1"]
