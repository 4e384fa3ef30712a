"""Adding, replacing, deleting and merging; and what callers may hand over as items, ids and queries."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anysize.core import files
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.search import Index
from anysize.search.writing import changes as changes_module
from tests.search.helpers import NESTING, HashModel, scores, vectors
from tests.search.scoring.test_sparse import WIDTH, SparseModel

pd = pytest.importorskip("pandas")


def contents(index: Index) -> dict[str, str | None]:
    """Id -> text of everything that a search can find."""
    return {hit.id: hit.text for hit in index.search("dog", k=1000).hits}


def test_numbering_goes_on_past_ids_that_are_taken(tmp_path):
    index = Index.build(tmp_path / "i", HashModel(), ["a", "b", "c", "d", "e"], ids=["1", "2", "3", "4", "5"])
    index.add(["f", "g"])
    assert contents(index) == dict(zip("1234567", "abcdefg", strict=True))
    index.add(["h"], ids=["9"])
    index.add(["i", "j"])
    assert contents(index) == dict(zip([*"12345679", "10", "11"], "abcdefghij", strict=True))
    index.delete(["11"])
    index.add(["k"])
    assert contents(index)["12"] == "k"  # a number is not given again


def test_rows_that_reading_numbered_are_numbered_on(tmp_path):
    index = Index.build(tmp_path / "i", HashModel(), Items(["0", "1"], ["a", "b"], numbered=True))
    index.add(Items(["0"], ["c"], numbered=True))
    assert contents(index) == {"0": "a", "1": "b", "2": "c"}
    with pytest.raises(DataError, match="no ids of its own"):
        index.upsert(Items(["0"], ["d"], numbered=True))


@settings(max_examples=12)
@given(data=st.data())
def test_any_order_of_changes_leaves_what_a_dictionary_would_hold(tmp_path_factory, data):
    rows = vectors(400, 32)
    path = tmp_path_factory.mktemp("changes") / "i"
    start = data.draw(st.integers(1, 40))
    index = Index.build(path, None, rows[:start], ids=[f"id {row}" for row in range(start)])
    expected = {f"id {row}": row for row in range(start)}
    for _ in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from(["add", "upsert", "upsert", "delete", "compact"]))
        free = [name for name in (f"id {row}" for row in range(60)) if name not in expected]
        if kind == "add" and free:
            names = data.draw(st.lists(st.sampled_from(free), min_size=1, max_size=9, unique=True))
        elif kind == "upsert":
            every = [f"id {row}" for row in range(60)]
            names = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=9, unique=True))
        elif kind == "delete" and expected:
            names = data.draw(st.lists(st.sampled_from(sorted(expected)), min_size=1, max_size=5, unique=True))
            index.delete(names)
            expected = {name: row for name, row in expected.items() if name not in names}
            continue
        else:
            index.compact()
            continue
        chosen = data.draw(st.integers(0, 390))
        new = [(chosen + place) % 400 for place in range(len(names))]
        (index.add if kind == "add" else index.upsert)(rows[new], names)
        expected |= dict(zip(names, new, strict=True))
    query = vectors(1, 32, seed=5)[0]
    for one in (index, Index.open(path)):
        assert len(one) == len(expected)
        found = {hit.id: hit.score for hit in one.search(query, k=100).hits}
        true = scores(rows[[*expected.values()]], query)
        assert found == pytest.approx(dict(zip(expected, true, strict=True)), abs=1e-5)
    index.verify()


def test_an_upsert_is_one_generation_and_replaces_texts_and_sparse_codes_too(tmp_path):
    index = Index.build(tmp_path / "t", HashModel(), ["a dog", "a cat", "a hen"], ids=["a", "b", "c"])
    before = index.manifest.generation
    index.upsert(["a cow", "a pig"], ids=["b", "z"])
    assert index.manifest.generation == before + 1
    assert contents(index) == {"a": "a dog", "b": "a cow", "c": "a hen", "z": "a pig"}
    with pytest.raises(DataError, match=r"'b' .*twice"):
        index.upsert(["x", "y"], ids=["b", "b"])
    with pytest.raises(DataError, match="no ids of its own"):
        index.upsert(["x"])
    assert contents(Index.open(tmp_path / "t", HashModel()))["b"] == "a cow"

    rows = vectors(60, WIDTH)
    sparse = Index.build(tmp_path / "s", SparseModel(), rows[:40])
    sparse.upsert(rows[40:], ids=[str(row) for row in range(30, 50)])
    left = {str(row): row for row in range(30)} | {str(row): row + 10 for row in range(30, 50)}
    query = vectors(1, WIDTH, seed=1)[0]
    found = {hit.id: hit.score for hit in sparse.search(query, k=50, stages=f"active=8:50,dims={WIDTH}").hits}
    true = scores(rows[[*left.values()]], query)
    assert found == pytest.approx(dict(zip(left, true, strict=True)), abs=1e-5)


def test_many_small_additions_leave_few_segments_and_copy_few_rows(tmp_path):
    index = Index.build(tmp_path / "i", None, vectors(40), nesting=NESTING)
    more = vectors(16, seed=1)
    for number in range(16):
        index.add(more[number : number + 1])
        assert len(index.segments) <= 2 + np.log2(number + 1)
    assert [segment.rows for segment in index.segments] == [40, 16]
    assert len(index) == 56
    query = vectors(1, seed=2)[0]
    order = np.argsort(-scores(np.vstack([vectors(40), more]), query))[:10]
    assert [int(hit.id) for hit in index.search(query).hits] == order.tolist()
    index.add(vectors(100, seed=3))
    assert [segment.rows for segment in index.segments] == [156]


@pytest.mark.parametrize("change", ["add", "upsert", "delete", "compact", "build"])
@pytest.mark.parametrize("moment", ["open", "commit"])
def test_a_change_that_raised_has_not_happened(tmp_path, monkeypatch, change, moment):
    index = Index.build(tmp_path / "i", None, vectors(5), ids=list("abcde"), nesting=NESTING)
    before = sorted((tmp_path / "i").rglob("*")), (tmp_path / "i" / "index.json").read_bytes()

    def fail(*given, **options):
        raise OSError(24, "Too many open files")

    writes = {
        "add": lambda: index.add(vectors(2), ids=["x", "y"]),
        "upsert": lambda: index.upsert(vectors(2), ids=["a", "y"]),
        "delete": lambda: index.delete(["a"]),
        "compact": index.compact,
        "build": lambda: Index.build(tmp_path / "i", None, vectors(3)),
    }
    with monkeypatch.context() as patch:
        if moment == "commit":
            patch.setattr(files.os, "replace", fail)
        else:
            patch.setattr("anysize.search.store.stored.Identity.of", fail)
        with pytest.raises(OSError, match="Too many"):
            writes[change]()
    assert (sorted((tmp_path / "i").rglob("*")), (tmp_path / "i" / "index.json").read_bytes()) == before
    assert sorted(hit.id for hit in index.search(vectors(1)[0]).hits) == list("abcde")
    writes[change]()
    assert len(index) == {"add": 7, "upsert": 6, "delete": 4, "compact": 5, "build": 5}[change]


def test_a_search_after_a_change_reads_no_file_that_was_open_before(tmp_path, monkeypatch):
    index = Index.build(tmp_path / "i", None, vectors(50), nesting=NESTING)
    old = index.segments[0]
    index.add(vectors(2, seed=1))
    assert index.segments[0] is old
    assert changes_module.open_segments(index.path, index.manifest, index.segments) == index.segments


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", None, "c"], "item 1 has the id None"),
        (["a", "b", float("nan")], "item 2 has the id nan"),
        ([np.float32("nan"), "b", "c"], "item 0 has the id"),
        ([pd.NA, "b", "c"], "item 0 has the id"),
        ([pd.NaT, "b", "c"], "item 0 has the id"),
        (["a", True, "c"], "item 1 has the id True"),
        (["a", b"b", "c"], "item 1 has the id bytes"),
        (["a", ["b"], "c"], "item 1 has the id a list of 1"),
        (["a", float("inf"), "c"], "item 1 has the id inf"),
        ("abc", "one id an item, got 'abc'"),
        (7, "one id an item, got 7"),
    ],
)
def test_what_is_no_id_is_refused_by_name(tmp_path, ids, message):
    for write in (lambda: Index.build(tmp_path / "i", None, vectors(3), ids=ids),):
        with pytest.raises(DataError, match=message):
            write()
    assert not (tmp_path / "i").exists()


def test_ids_of_any_good_kind_are_text_and_delete_takes_the_same(tmp_path):
    name = uuid.uuid4()
    index = Index.build(tmp_path / "i", None, vectors(5), ids=["a", 7, np.int64(8), name, np.str_("e")])
    found = sorted(hit.id for hit in index.search(vectors(1)[0]).hits)
    assert found == sorted(["a", "7", "8", str(name), "e"])
    index.delete(7)
    index.delete([np.int64(8), name])
    index.delete(pd.Series(["e"]))
    assert [hit.id for hit in index.search(vectors(1)[0]).hits] == ["a"]
    for wrong, message in ((None, "is None"), ([None], "None"), (1.5j, "complex"), (0, "'0'"), ("", "empty")):
        with pytest.raises(DataError, match=message):
            index.delete(wrong)
    assert len(index) == 1


TEXTS = ["a dog", "two cats", "a hen"]


@pytest.mark.parametrize(
    "texts",
    [
        np.array(TEXTS),
        np.array(TEXTS, object),
        pd.Series(["x", *TEXTS]).drop(0),
        tuple(TEXTS),
        iter([TEXTS[:1], TEXTS[1:]]),
        [TEXTS[:1], np.array(TEXTS[1:])],
        [Items(["0"], TEXTS[:1], numbered=True), TEXTS[1:]],
    ],
    ids=["array", "objects", "series", "tuple", "stream", "batches", "items"],
)
def test_texts_of_any_form_are_indexed_and_searched(tmp_path, texts):
    index = Index.build(tmp_path / "i", HashModel(), texts)
    assert contents(index) == dict(zip("012", TEXTS, strict=True))
    for queries in (TEXTS, tuple(TEXTS), np.array(TEXTS), pd.Series(["x", *TEXTS]).drop(0)):
        assert [found.hits[0].text for found in index.search_many(queries, k=1)] == TEXTS
    assert index.search(np.str_("a hen"), k=1).hits[0].text == "a hen"


ROWS = vectors(4, 16)


@pytest.mark.parametrize(
    "rows",
    [ROWS.tolist(), [*ROWS], torch.from_numpy(ROWS), pd.DataFrame(ROWS), np.ma.array(ROWS), iter([ROWS[:1], ROWS[1:]])],
    ids=lambda rows: type(rows).__name__,
)
def test_vectors_of_any_form_are_indexed_and_searched(tmp_path, rows):
    index = Index.build(tmp_path / "i", None, rows)
    for queries in (ROWS, ROWS.tolist(), [*ROWS], torch.from_numpy(ROWS), pd.DataFrame(ROWS)):
        assert [found.hits[0].id for found in index.search_many(queries, k=1)] == ["0", "1", "2", "3"]
    for query in (
        ROWS[2],
        ROWS[2].tolist(),
        torch.from_numpy(ROWS[2]),
        pd.Series(ROWS[2], index=range(5, 21)),
        ROWS[2:3],
    ):
        assert index.search(query, k=1).hits[0].id == "2"


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([None, None], r"document 0 \(from 0\) is None"),
        (["a", None], r"document 1 \(from 0\) is None"),
        (["a", float("nan")], r"document 1 \(from 0\) is nan"),
        (["a", b"b"], "document 1 .* is bytes"),
        ([b"b"], "document 0 .* is bytes"),
        (pd.Series(["a", None]), "document 1 .* is None|nan"),
        (pd.DataFrame({"words": ["a", "b"]}), "has the columns words; expected"),
        (pd.DataFrame({"text": ["a", None]}), "row 1"),
        ((text for text in TEXTS), "a batch, .* got '"),
        ({"a": 1}, "the column a of the dict is 1; expected a list"),
        ({"a", "b"}, "a batch, .* got '"),
        (7, "got 7"),
        (None, "got None"),
        (b"text", "list of texts"),
        (iter([None]), "a batch, .* got None"),
        (Items(["0"], [None]), "document 0 .* is None"),
        ([["a", "b"], None], "a batch, .* got None"),
        (np.array(["2020-01-01"], "datetime64[D]"), "rows of numbers"),
        (np.ma.array(ROWS, mask=np.eye(4, 16, 1)), r"row 0 \(from 0\) holds masked"),
        (np.packbits(ROWS > 0, axis=1), "uint8, so packed bits"),
        (np.zeros((2, 8), np.int8), "int8, so packed bits"),
        (torch.zeros((2, 8), dtype=torch.uint8), "uint8, so packed bits"),
        ([np.zeros(8, np.uint8)], "uint8, so packed bits"),
        (ROWS > 0, "bool"),
        (ROWS * 1j, "complex"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_neither_texts_nor_vectors_is_one_sentence(tmp_path, items, message):
    with pytest.raises(DataError, match=message) as refused:
        Index.build(tmp_path / "i", HashModel(), items)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "i").exists()


def test_wrong_queries_are_one_sentence_that_says_which(tmp_path):
    texts = Index.build(tmp_path / "t", HashModel(), TEXTS)
    numbers = Index.build(tmp_path / "v", None, ROWS)
    assert texts.search_many([]) == texts.search_many(np.array([], str)) == numbers.search_many(np.zeros((0, 16))) == []
    zero = ROWS.copy()
    zero[2] = 0
    endless = ROWS.copy()
    endless[1, 3] = np.inf
    for index, queries, message in [
        (texts, "cat", "put it in a list, or use search"),
        (texts, b"cat", "put it in a list"),
        (texts, ["a dog", "", "a hen"], r"query 1 \(from 0\) is empty"),
        (texts, ["a dog", " \n"], r"query 1 \(from 0\) is empty"),
        (texts, ["a dog", None], r"query 1 \(from 0\) is None"),
        (texts, [None], r"query 0 \(from 0\) is None"),
        (texts, ["a dog", 3], r"query 1 \(from 0\) is 3"),
        (texts, {"a": 1}, "got a dict"),
        (texts, None, "got None"),
        (texts, 3, "got 3"),
        (texts, pd.DataFrame({"q": TEXTS}), "object"),
        (numbers, zero, r"query 2 \(from 0\) is a vector of zeros"),
        (numbers, endless, r"query 1 \(from 0\) holds NaN or an infinite"),
        (numbers, np.packbits(ROWS > 0, axis=1), "packed bits"),
        (numbers, np.zeros((2, 16), np.int8), "packed bits"),
        (numbers, ROWS[0], "rows of numbers"),
        (numbers, [[1.0, 2.0], [1.0]], "differ in width"),
        (numbers, TEXTS, "with a vector, not a text"),
    ]:
        with pytest.raises(DataError, match=message) as refused:
            index.search_many(queries)
        assert "\n" not in str(refused.value)
    for index, query in [(texts, None), (texts, ""), (texts, TEXTS), (texts, {}), (numbers, 3), (numbers, b"x")]:
        with pytest.raises(AnysizeError):
            index.search(query)


def test_a_lost_segment_is_still_named_after_other_changes(tmp_path):
    index = Index.build(tmp_path / "i", None, vectors(5), nesting=NESTING)
    next((tmp_path / "i" / "segments").rglob("norms-*")).unlink()
    index.add(vectors(1, seed=1))  # what is open needs no file
    for read in (Index.open, changes_module.compact):
        with pytest.raises(CheckpointError, match=r"norms-.* is missing"):
            read(tmp_path / "i")
