"""What people hold in memory is read as a file of the same content is."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.errors import DataError

TABLES = {
    "pairs": [{"anchor": "größe, lang", "positive": 'size "long"'}, {"anchor": "b\nc", "positive": "d"}],
    "renamed": [{"query": "a", "passage": "b", "neg": "c"}, {"query": "d", "passage": "e", "neg": "f"}],
    "lists": [{"anchor": "a", "positive": ["b", "c"], "negative": ["d"]}] * 2,
    "scored": [{"sentence1": "a", "sentence2": "b", "score": 0.5}, {"sentence1": "c", "sentence2": "d", "score": 2.0}],
    "labelled": [{"id": 7, "text": "a", "label": 1}, {"id": 3, "text": " ", "label": 2}],
    "unread": [{"text": "a", "year": 1999}, {"text": "b", "year": 2000}],
    "vectors": [{"id": "a", "vector": [1.0, 2.0]}, {"id": "b", "vector": [0.0, 0.0]}],
}  # fmt: skip


def jsonl(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def columns(rows: list) -> dict:
    return {name: [row[name] for row in rows] for name in rows[0]}


HOLDERS = {
    "a list": list,
    "a tuple": tuple,
    "columns": columns,
    "arrays": lambda rows: {name: np.array(column) for name, column in columns(rows).items()},
    "pandas": pandas.DataFrame,
    "polars": polars.DataFrame,
    "datasets": datasets.Dataset.from_list,
    "formatted": lambda rows: datasets.Dataset.from_list(rows).with_format("numpy"),
}


def same(one: Data, other: Data) -> bool:
    """Equal but for the name, which a file has from its path."""
    mine, theirs = (replace(data, name="", corpus=None) for data in (one, other))
    if (one.corpus is None) != (other.corpus is None) or mine != theirs:
        return False
    if one.corpus is None or other.corpus is None:
        return True
    ids = one.corpus.ids == other.corpus.ids and one.corpus.numbered == other.corpus.numbered
    held = one.corpus.texts == other.corpus.texts and np.array_equal(one.corpus.vectors, other.corpus.vectors)
    return ids and held


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("table", TABLES)
def test_a_table_in_memory_is_what_a_file_of_it_is(table, holder, tmp_path):
    held = HOLDERS[holder](TABLES[table])
    assert same(read(held), read(jsonl(tmp_path / "t.jsonl", TABLES[table])))


@pytest.mark.parametrize(
    "holder", [list, tuple, np.array, lambda texts: np.array(texts, object), lambda texts: {"text": texts}]
)
def test_texts_in_a_list_are_a_file_with_a_column_of_texts(holder, tmp_path):
    texts = ["größe", "", "b\nc"]
    assert same(read(holder(texts)), read(jsonl(tmp_path / "t.jsonl", [{"text": text} for text in texts])))


VECTORS = np.array([[1.0, 2.0, 3.5], [4.0, 5.0, 0.25]], np.float32)


@pytest.mark.parametrize(
    "held",
    [
        VECTORS, VECTORS.astype(np.float64), VECTORS[:, ::-1][:, ::-1], VECTORS.tolist(),
        list(VECTORS), torch.from_numpy(VECTORS), torch.from_numpy(VECTORS).bfloat16().requires_grad_(),
        list(torch.from_numpy(VECTORS)),
        np.ma.masked_array(VECTORS),
    ],
    ids=["float32", "float64", "strided", "lists", "arrays", "tensor", "bfloat16", "tensors", "unmasked"],
)  # fmt: skip
def test_vectors_in_memory_are_a_file_of_them(held, tmp_path):
    np.save(tmp_path / "v.npy", VECTORS)
    data = read(held)
    assert same(data, read(tmp_path / "v.npy"))
    assert data.corpus.vectors.dtype == np.float32


def test_vectors_that_are_float32_stay_where_they_are(tmp_path):
    assert np.shares_memory(read(VECTORS).corpus.vectors, VECTORS)
    np.save(tmp_path / "v.npy", VECTORS)
    assert isinstance(read(np.load(tmp_path / "v.npy", mmap_mode="r")).corpus.vectors, np.memmap)


def test_a_missing_cell_of_a_frame_is_missing():
    for frame in (pandas.DataFrame, polars.DataFrame):
        with pytest.raises(DataError, match=r"the DataFrame, row 1 \(from 0\): text is missing"):
            read(frame({"text": ["a", None]}))
    gap = pandas.DataFrame({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, float("nan")]})
    with pytest.raises(DataError, match="score is missing"):
        read(gap)


def splits() -> datasets.DatasetDict:
    rows = datasets.Dataset.from_list([{"text": "a"}])
    return datasets.DatasetDict({"train": rows, "test": rows})


TWO_NAMES = pandas.DataFrame([["a", "b"]], columns=["text", "text"])
WRONG = {
    "a generator": ((one for one in ["a"]), "a generator can be read only once; give a list"),
    "a set": ({"a", "b"}, "a set has no order"),
    "a series": (pandas.Series(["a"]), "a pandas.Series is one column"),
    "a polars series": (polars.Series(["a"]), "a polars.Series is one column"),
    "a lazy frame": (polars.DataFrame({"text": ["a"]}).lazy(), r"give its collect\(\)"),
    "splits": (splits(), r"holds the splits train, test; give one of them, as data\['train'\]"),
    "a stream": (splits()["train"].to_iterable_dataset(), "a datasets.IterableDataset can be read in one way only"),
    "one vector": (np.zeros(3, np.float32), r"the array has shape \(3,\); expected one vector a row"),
    "one vector in a list": ([1.0, 2.0], "the list holds numbers, so it is one vector"),
    "ragged": ([[1.0], [2.0, 3.0]], "rows of different widths or kinds"),
    "rows of texts": ([["a", "b"]], "rows that are no vectors"),
    "masked": (np.ma.masked_array(VECTORS, mask=True), "the array has masked values"),
    "a meta tensor": (torch.ones((2, 2), device="meta"), "cannot be read as an array; give its values"),
    "a sparse tensor": (torch.eye(2).to_sparse(), "cannot be read as an array; give its values"),
    "complex": (np.ones((2, 2), complex), "the array holds complex128; expected numbers"),
    "not finite": (VECTORS * np.nan, r"the array: row 0 \(from 0\) holds NaN"),
    "empty": ([], "the list is empty; expected a path, a list of texts"),
    "an empty frame": (pandas.DataFrame({"text": []}), "the DataFrame holds no rows"),
    "texts and a number": (["a", 1], r"the list holds 1 at place 1 \(from 0\), among texts"),
    "dicts and a text": ([{"text": "a"}, "b"], r"the list holds 'b' at place 1 \(from 0\), among dicts"),
    "one row": ({"anchor": "a", "positive": "b"}, "the column anchor of the dict is 'a'; expected a list"),
    "uneven": ({"anchor": ["a"], "positive": []}, r"lists of differing length \(anchor: 1, positive: 0\)"),
    "a numbered column": ({0: ["a"]}, "the dict has a column called 0"),
    "a name twice": (TWO_NAMES, "the DataFrame has two columns called text"),
    "None": (None, "None is no data; expected a path, a list of texts"),
    "a class": (dict, "the class dict is no data"),
    "half a character": (["a", "\udcff"], r"the list, row 1 \(from 0\) holds half a surrogate pair"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_something_else_is_said_in_a_sentence(wrong):
    value, message = WRONG[wrong]
    with pytest.raises(DataError, match=message) as caught:
        read(value)
    assert "\n" not in str(caught.value)


CELLS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.fixed_dictionaries({"anchor": CELLS, "positive": CELLS, "negative": CELLS}), min_size=1, max_size=8))
def test_equal_pairs_have_equal_fingerprints_wherever_they_are_held(rows):
    found = [read(hold(rows)) for hold in (list, columns, pandas.DataFrame, polars.DataFrame, pa.Table.from_pylist)]
    assert all(same(one, found[0]) for one in found)
    turned = [{name: row[name] for name in reversed(row)} for row in rows]
    assert read(turned).fingerprint == found[0].fingerprint
    assert read([*rows, rows[0]]).fingerprint != found[0].fingerprint


def test_reading_a_list_imports_no_library_of_tables():
    code = (
        "import sys; from anysize.core.data.read import read; read(['a', 'b']); read([[1.0, 2.0]]);"
        "print([name for name in ('pandas', 'polars', 'datasets', 'pyarrow', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
