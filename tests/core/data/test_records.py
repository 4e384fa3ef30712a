from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anysize.core.data.data import Data
from anysize.core.data.held_out import key_of
from anysize.core.data.read import read
from anysize.core.data.records import Items, Table
from anysize.core.errors import DataError


def pairs_of(count: int) -> Data:
    anchors = [f"question {row}" for row in range(count)]
    return Data("p", "f", table=Table({"anchor": anchors, "positive": [f"answer {row // 2}" for row in range(count)]}))


def test_items_are_of_one_kind_with_an_id_each():
    with pytest.raises(DataError, match="2 ids for 1 items"):
        Items(["0", "1"], ["a"])
    texts, rows = Items(["0"], ["a"]), Items(["0"], np.zeros((1, 2), np.float32), "vector")
    assert (texts.texts, texts.vectors, rows.texts, rows.vectors is rows.rows) == (["a"], None, None, True)


def test_take_keeps_ids_beside_their_content():
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    taken = Items(["a", "b", "c"], vectors, "vector").take([2, 0])
    assert taken.ids == ["c", "a"]
    assert taken.vectors.tolist() == [[4, 5], [0, 1]]
    assert Items(["a", "b"], ["x", "y"]).take(np.array([1])) == Items(["b"], ["y"])
    assert Table({"anchor": ["a", "b"], "positive": ["x", "y"], "negative": ["m", "n"]}).take([1]) == Table(
        {"anchor": ["b"], "positive": ["y"], "negative": ["n"]}
    )


def test_tables_refuse_columns_of_differing_length():
    with pytest.raises(DataError, match="one length; got anchor: 2, positive: 2, negative: 1"):
        Table({"anchor": ["a", "b"], "positive": ["x", "y"], "negative": ["z"]})


def test_items_of_pairs_are_the_distinct_texts():
    data = Data("p", "f", table=Table({"anchor": ["a", "b"], "positive": ["b", "c"], "negative": ["a", "d"]}))
    assert data.items().texts == data.texts == ["a", "b", "c", "d"]


def test_held_out_anchors_are_a_tenth_and_never_trained_on():
    data = pairs_of(2000)
    held = set(data.retrieval(held_out=True).queries.texts)
    assert 150 < len(held) < 250
    assert set(data.training_pairs()["anchor"]) == set(data.pairs["anchor"]) - held
    assert set(data.retrieval().queries.texts) == set(data.pairs["anchor"])


def test_what_is_held_out_does_not_depend_on_order_or_on_the_other_rows():
    data = pairs_of(2000)
    half = Data("p", "f", table=data.pairs.take(range(1999, 999, -1)))
    held = set(data.retrieval(held_out=True).queries.texts)
    assert set(half.retrieval(held_out=True).queries.texts) == held & set(half.pairs["anchor"])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_pairs_still_leave_one_to_hold_out_and_one_to_train_on(count):
    data = pairs_of(count)
    assert len(data.retrieval(held_out=True).queries) >= 1
    assert len(data.training_pairs()) >= 1


def test_one_anchor_cannot_be_split():
    with pytest.raises(DataError, match="one distinct anchor"):
        pairs_of(1).training_pairs()


def test_pairs_as_retrieval_search_all_distinct_positives():
    data = Data("p", "f", table=Table({"anchor": ["q", "r", "q"], "positive": ["x", "x", "y"]}))
    task = data.retrieval()
    text = dict(zip(task.corpus.ids, task.corpus.texts, strict=True))
    found = {
        query: {text[document] for document in task.qrels[name]}
        for name, query in zip(task.queries.ids, task.queries.texts, strict=True)
    }
    assert task.corpus.texts == ["x", "y"]
    assert found == {"q": {"x", "y"}, "r": {"x"}}


def judged(qrels) -> Data:
    corpus = Items(["d1", "d2", "d3"], ["one", "two", ""])
    return Data("b", "f", corpus, Items(["q1", "q2"], ["first", "second"]), qrels)


def test_retrieval_keeps_gains_above_zero_and_every_query_that_is_judged():
    task = judged({"test": {"q1": {"d1": 0.0}, "q2": {"d1": 2.0, "d2": 0.0, "gone": 1.0}}}).retrieval()
    assert task.queries.ids == ["q1", "q2"]
    assert task.qrels == {"q1": {}, "q2": {"d1": 2.0, "gone": 1.0}}
    assert len(task.corpus) == 3
    assert judged({"test": {"q2": {"d1": 1.0}}}).retrieval().queries.ids == ["q2"]


def test_a_split_without_relevant_documents_sets_no_task():
    data = judged({"test": {"q1": {"d1": 0.0}}})
    assert data.retrieval() is None
    assert data.retrieval("dev") is None
    assert data.training_pairs() is None


def test_training_pairs_from_judgements_leave_out_empty_documents():
    data = judged({"train": {"q1": {"d2": 1.0, "d3": 1.0, "d1": 0.0, "gone": 2.0}}})
    assert data.training_pairs() == Table({"anchor": ["first"], "positive": ["two"]})


def test_vectors_have_no_texts():
    with pytest.raises(DataError, match="holds 1 vectors of 2 dims, not texts"):
        _ = Data("v", "f", Items(["0"], np.zeros((1, 2), np.float32), "vector")).texts


def scored_of(count: int) -> Data:
    rows = range(count)
    pairs = Table(
        {
            "sentence1": [f"sentence {row // 2}" for row in rows],
            "sentence2": [f"other {row}" for row in rows],
            "score": [*map(float, rows)],
        }
    )
    return Data("s", "f", table=pairs)


def test_scored_pairs_refuse_columns_of_differing_length_and_scores_that_are_no_numbers():
    with pytest.raises(DataError, match="one length; got sentence1: 2, sentence2: 1, score: 2"):
        Table({"sentence1": ["a", "b"], "sentence2": ["c"], "score": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"row 1 .* has the score nan"):
        _ = Data(
            "s", "f", table=Table({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [1.0, float("nan")]})
        ).scored


def test_items_of_scored_pairs_are_the_distinct_texts():
    assert Data(
        "s", "f", table=Table({"sentence1": ["a", "b"], "sentence2": ["b", "c"], "score": [1.0, 2.0]})
    ).texts == ["a", "b", "c"]


def test_scored_pairs_are_split_by_their_first_text():
    data = scored_of(4000)
    held, rest = data.similarity(held_out=True), data.training_scored()
    assert data.similarity() is data.scored
    assert len(held) + len(rest) == 4000
    assert 300 < len(held) < 500
    assert not set(held["sentence1"]) & set(rest["sentence1"])
    place = {text: row for row, text in enumerate(data.scored["sentence2"])}
    assert all(held["score"][row] == place[text] for row, text in enumerate(held["sentence2"]))
    turned = Data("s", "f", table=data.scored.take(range(3999, -1, -1)))
    assert set(turned.similarity(held_out=True)["sentence2"]) == set(held["sentence2"])


def test_scored_pairs_of_one_sentence_cannot_be_split():
    with pytest.raises(DataError, match="one distinct sentence1"):
        scored_of(2).training_scored()
    assert pairs_of(3).training_scored() is pairs_of(3).similarity() is None


COLUMN = st.lists(st.sampled_from([f"text {place}" for place in range(30)]), min_size=2, max_size=60)


@settings(max_examples=60, deadline=None)
@given(COLUMN, st.data())
def test_a_table_is_taken_and_held_out_as_a_list_of_rows_would_be(texts, draw):
    """Against rows as tuples, and the rule written again: the lowest tenth of the hashes, at least one, never all."""
    other = draw.draw(st.lists(st.integers(), min_size=len(texts), max_size=len(texts)))
    table, rows = Table({"text": texts, "n": other}), list(zip(texts, other, strict=True))
    places = draw.draw(st.lists(st.integers(0, len(texts) - 1)))
    taken = table.take(places)
    assert list(zip(taken["text"], taken["n"], strict=True)) == [rows[place] for place in places]

    order = sorted({*texts}, key=lambda text: int(hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), 16))
    if len(order) < 2:
        with pytest.raises(DataError, match="one distinct text"):
            table.held_out("text")
        return
    below = [text for text in order if int(hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), 16) * 10 < 2**64]
    held = {*(below or order[:1])} - ({order[-1]} if len(below) == len(order) else set())
    kept, out = table.held_out("text")
    assert list(zip(kept["text"], kept["n"], strict=True)) == [row for row in rows if row[0] not in held]
    assert list(zip(out["text"], out["n"], strict=True)) == [row for row in rows if row[0] in held]


def test_a_table_names_the_nearest_column_and_refuses_to_have_none():
    with pytest.raises(DataError, match="no column anchr; did you mean anchor"):
        Table({"anchor": ["a"]})["anchr"]
    with pytest.raises(DataError, match="needs columns of one length; got none"):
        Table({})


def test_data_says_what_it_is_in_a_line():
    vectors = Data("v", "f", Items(["0"], np.zeros((1, 2), np.float32), "vector"))
    table = Table({"prompt": ["a"], "answer": ["b"]})
    assert [repr(one) for one in (vectors, pairs_of(2), Data("t", "f", table=table), Data("none", "none"))] == [
        "Data('v': 1 vectors of 2 dims)", "Data('p': 2 pairs)", "Data('t': 1 rows of prompt, answer)",
        "Data('none': nothing)",
    ]  # fmt: skip
    assert repr(Items(["0", "1"], ["a.wav", "b.wav"], "audio")) == "Items(2 sounds)"


def test_pictures_in_memory_are_told_apart_by_all_of_their_content():
    one = np.zeros((40, 40, 3), np.uint8)
    other = one.copy()
    other[20, 20, 1] = 7  # where an array written in words has dots
    keys = [key_of([{"image": picture}]) for picture in (one, one.copy(), other, Image.fromarray(other), one[:20])]
    assert keys[0] == keys[1]
    assert keys[2] == keys[3]
    assert len({*keys}) == 3
    assert key_of([{"image": b"abc"}]) == json.dumps([{"image": hashlib.sha256(b"abc").hexdigest()}])


def test_files_are_held_out_by_what_they_hold_whatever_they_are_called(tmp_path):
    """Thirty folders with a picture 1.jpg each, no two the same, and every picture once more under another name."""
    names = []
    for place in range(30):
        folder = tmp_path / f"folder {place}"
        folder.mkdir()
        for name in ("1.jpg", f"copy {place}.jpg"):
            (folder / name).write_bytes(b"picture %d" % place)
            names.append(f"{folder.name}/{name}")
    rows = [json.dumps({"image": name, "question": "what?", "answer": str(row)}) for row, name in enumerate(names)]
    (tmp_path / "asked.jsonl").write_text("\n".join(rows))
    table = read(tmp_path / "asked.jsonl").table
    kept, out = table.held_out("image")
    sides = [{int(answer) // 2 for answer in side["answer"]} for side in (kept, out)]
    assert not sides[0] & sides[1]
    assert len(kept) == 2 * len(sides[0])
    assert len(out) == 2 * len(sides[1])

    hashes = {place: json.dumps(hashlib.sha256(b"picture %d" % place).hexdigest()) for place in range(30)}
    below = {place for place, key in hashes.items() if 10 * int.from_bytes(
        hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") < 2**64}  # fmt: skip
    assert below
    assert sides[1] == below
    paths = [tmp_path / name for name in names]  # as a table that was made by hand may hold them
    assert [key_of(path) for path in paths] == [key_of(cell) for cell in table["image"]]
