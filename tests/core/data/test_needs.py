from __future__ import annotations

import numpy as np
import pytest

from anysize.core.data.data import Data
from anysize.core.data.needs import check_needs, offered
from anysize.core.data.read import read
from anysize.core.data.records import Items, Table
from anysize.core.errors import DataError

TEXTS, VECTORS = Items(["a", "b"], ["one", "two"]), Items(["a"], np.ones((1, 2), np.float32), "vector")
PAIRS = Table({"anchor": ["a", "b"], "positive": ["c", "d"]})
DATA = {
    "texts": (Data("d", "f", TEXTS), "text"),
    "vectors": (Data("d", "f", VECTORS, labels=["x"]), "vector label"),
    "pairs": (Data("d", "f", table=PAIRS), "anchor positive text"),
    "judged": (Data("d", "f", TEXTS, TEXTS, {"train": {"a": {"b": 1.0}}}), "text anchor positive"),
    "judged to measure": (Data("d", "f", TEXTS, TEXTS, {"test": {"a": {"b": 1.0}}}), "text"),
    "parts": (Data("d", "f", table=Table(PAIRS.columns, {"anchor": "parts"})), "anchor positive"),
    "nothing": (Data("none", "none"), ""),
}


@pytest.mark.parametrize("name", DATA)
def test_what_data_offer(name):
    data, expected = DATA[name]
    assert [*offered(data)] == expected.split()
    check_needs("m", [], data)
    if expected:
        check_needs("m", ["gone", ", ".join(expected.split()[::-1])], data)


def test_what_is_missing_is_said_with_what_there_is():
    table = Data("my.jsonl", "f", table=Table({"question": ["a"], "positve": ["b"]}))
    with pytest.raises(DataError) as caught:
        check_needs("mrl", ("anchor, positive", "text"), table)
    assert str(caught.value) == (
        "mrl needs anchor, positive, or text; my.jsonl has question, positve; did you mean positive for positve?"
    )
    with pytest.raises(DataError, match=r"^mlm needs text; none holds nothing$"):
        check_needs("mlm", ("text",), Data("none", "none"))


def test_columns_are_found_by_the_names_that_their_file_gives_them():
    data = read([{"question": "what?", "answer": "this"}, {"question": "who?", "answer": "she"}])
    check_needs("m", ("question, answer",), data)
    assert data.table["question"] == data.table["anchor"] == ["what?", "who?"]
    assert data.table.take([1])["answer"] == ["she"]
    with pytest.raises(DataError, match="m needs prompt, answer; the list has anchor, positive, text"):
        check_needs("m", ("prompt, answer",), data)
    scored = read([{"sentence1": "a", "sentence2": "b", "label": 0.5}])
    with pytest.raises(DataError, match="m needs text, label"):
        check_needs("m", ("text, label",), scored)
