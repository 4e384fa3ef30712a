"""What stands under common column names, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anysize.core.data.read import read
from anysize.core.data.records import Table
from anysize.core.errors import DataError

A, B = ("a", "b"), ("p", "r")
PAIRS = Table({"anchor": ["a", "b"], "positive": ["p", "r"]})
SCORED = Table({"sentence1": ["a", "b"], "sentence2": ["p", "r"], "score": [1.0, 0.0]})


def table(**columns) -> list[dict]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def reading(tmp_path, rows, name="t.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read(path)


@pytest.mark.parametrize(
    ("rows", "pairs", "note"),
    [
        (table(anchor=A, positive=B), PAIRS, None),
        (table(query=A, passage=B), PAIRS, "query as anchor, passage as positive"),
        (table(question=A, answer=B), PAIRS, "question as anchor, answer as positive"),
        (table(query=A, document=B, url=A), PAIRS, "columns url are not read"),
        (table(**{"Anchor": A, " Positive ": B}), PAIRS, "Anchor as anchor"),
        (table(sentence1=A, sentence2=B), PAIRS, "sentence1 as anchor, sentence2 as positive"),
        (
            table(anchor=A, positive=B, negative=("n", "m")),
            Table({"anchor": ["a", "b"], "positive": ["p", "r"], "negative": ["n", "m"]}),
            None,
        ),
        (
            # Out of order: the number counts, not the place.
            table(anchor=A, positive=B, negative_2=("u", "v"), negative_1=("n", "m"), negative_10=("x", "y")),
            Table(
                {
                    "anchor": ["a", "b"],
                    "positive": ["p", "r"],
                    "negative": ["n", "m"],
                    "negative_2": ["u", "v"],
                    "negative_3": ["x", "y"],
                }
            ),
            "negative_1 as negative, negative_10 as negative_3",
        ),
        (
            table(query=A, pos=(["p"], ["r"]), neg=(["n", "m"], ["u", "v", "w"])),
            Table({"anchor": ["a", "b"], "positive": ["p", "r"], "negative": ["n", "u"], "negative_2": ["m", "v"]}),
            "1 of 5 negatives are not used: rows have from 2 to 3",
        ),
        (
            table(anchor=("a",), positive=(["p", "r"],), negatives=(["n"],)),
            Table({"anchor": ["a", "a"], "positive": ["p", "r"], "negative": ["n", "n"]}),
            "1 rows hold 2 positives",
        ),
        (
            table(anchor=("a", "a"), positive=("p", "p")),
            Table({"anchor": ["a", "a"], "positive": ["p", "p"]}),
            "1 of 2 rows repeat",
        ),
    ],
)
def test_pairs(tmp_path, rows, pairs, note):
    data = reading(tmp_path, rows)
    assert data.pairs == pairs
    assert (note is None and not data.notes) or any(note in one for one in data.notes), data.notes


@pytest.mark.parametrize(
    "rows",
    [
        table(sentence1=A, sentence2=B, score=(1, 0)),
        table(Sentence_A=A, Sentence_B=B, label=(1, 0)),
        table(question1=A, question2=B, is_duplicate=("1", "0")),
        # Rows that also say which do not belong together are no pairs to pull together.
        table(anchor=A, positive=B, label=(1, 0)),
        table(query=A, passage=B, score=(1.0, 0.0)),
    ],
)
def test_scored_pairs(tmp_path, rows):
    data = reading(tmp_path, rows)
    assert data.scored == SCORED
    assert data.pairs is None


@pytest.mark.parametrize(
    ("rows", "labels", "note"),
    [
        (table(text=A, label=(3, 4)), [3, 4], None),
        (table(Text=A, Label=("u", "v")), ["u", "v"], "Text as text, Label as label"),
        (table(sentence=A, intent=("u", "v")), ["u", "v"], "sentence as text, intent as label"),
        (table(content=("a", " ")), None, "1 of 2 texts are empty"),
        (table(text=("a", "a")), None, "1 of 2 rows repeat"),
    ],
)
def test_texts(tmp_path, rows, labels, note):
    data = reading(tmp_path, rows)
    assert data.texts == [next(iter(row.values())) for row in rows]
    assert data.labels == labels
    assert (note is None and not data.notes) or any(note in one for one in data.notes), data.notes


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("t.csv", "anchor,positive\na,p\nb,r\n", None),
        ("t.csv", 'anchor;positive\na;p\n"b";r\n', "separated by semicolons"),
        ("t.csv", "anchor\tpositive\na\tp\nb\tr\n", "separated by tabs"),
        ("t.tsv", "anchor\tpositive\na\tp\nb\tr\n", None),
        ("t.tsv", "anchor,positive\na,p\nb,r\n", "separated by commas"),
        ("t.json", '[{"anchor": "a", "positive": "p"}, {"anchor": "b", "positive": "r"}]', None),
        ("t.json", '{"anchor": ["a", "b"], "positive": ["p", "r"]}', None),
    ],
)
def test_separators_and_json(tmp_path, name, content, note):
    path = tmp_path / name
    path.write_text("\ufeff" + content, encoding="utf-8")
    data = read(path)
    assert data.pairs == PAIRS
    assert (note is None and not data.notes) or any(note in one for one in data.notes), data.notes


def test_npz_with_one_array_or_one_that_is_named(tmp_path):
    rows = np.arange(6, dtype=np.float64).reshape(3, 2) + 1
    np.savez(tmp_path / "one.npz", rows)
    np.savez_compressed(tmp_path / "named.npz", ids=np.arange(3), other=rows * 2, embeddings=rows)
    np.savez(tmp_path / "table.npz", ids=np.array(["a", "b", "c"]), x=rows)
    for name in ("one", "named", "table"):
        data = read(tmp_path / f"{name}.npz")
        assert np.array_equal(data.corpus.vectors, rows.astype(np.float32))
    np.savez(tmp_path / "two.npz", a=rows, b=rows)
    with pytest.raises(
        DataError, match=r"two\.npz holds 2 two-dimensional arrays of 2 \(a, b\); expected one, or one n"
    ):
        read(tmp_path / "two.npz")
    np.savez(tmp_path / "objects.npz", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="pickled objects and cut files are refused"):
        read(tmp_path / "objects.npz")


def test_vectors_that_repeat_or_have_no_direction_are_told(tmp_path):
    rows = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    rows[1], rows[4], rows[5] = rows[0], 0, 1e-30
    np.save(tmp_path / "v.npy", rows)
    assert read(tmp_path / "v.npy").notes == (
        "2 of 6 rows are zeros or nearly, and have no direction",
        "1 of 6 rows repeat an earlier one and are kept",
    )


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"anchr": "a", "positve": "b"}, "did you mean anchor for anchr, positive for positve?"),
        ({"alpha": "a", "beta": "b"}, "has the columns alpha, beta; expected anchor, positive"),
        ({f"c{number}": "x" for number in range(40)}, "c7, and 32 more; expected"),
    ],
)
def test_an_unknown_layout_names_the_nearest_that_is_known(tmp_path, columns, says):
    data = reading(tmp_path, [columns])
    assert data.table.columns == {name: [cell] for name, cell in columns.items()}
    assert [says] == [note.partition("; ")[2] for note in data.notes] or not says.startswith("did you mean")
    with pytest.raises(DataError) as error:
        data.items()
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800
