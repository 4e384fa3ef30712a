from __future__ import annotations

import numpy as np
import pytest

from anysize.core.data.data import Data
from anysize.core.data.records import Items, Pairs, ScoredPairs
from anysize.core.errors import DataError


def pairs_of(count: int) -> Data:
    anchors = [f"question {row}" for row in range(count)]
    return Data("p", "f", pairs=Pairs(anchors, [f"answer {row // 2}" for row in range(count)]))


def test_items_hold_exactly_one_of_texts_and_vectors():
    for wrong in ({}, {"texts": ["a"], "vectors": np.zeros((1, 2), np.float32)}):
        with pytest.raises(DataError, match="exactly one"):
            Items(["0"], **wrong)
    with pytest.raises(DataError, match="2 ids for 1 items"):
        Items(["0", "1"], texts=["a"])


def test_take_keeps_ids_beside_their_content():
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    taken = Items(["a", "b", "c"], vectors=vectors).take([2, 0])
    assert taken.ids == ["c", "a"]
    assert taken.vectors.tolist() == [[4, 5], [0, 1]]
    assert Items(["a", "b"], texts=["x", "y"]).take(np.array([1])) == Items(["b"], texts=["y"])
    assert Pairs(["a", "b"], ["x", "y"], ["m", "n"]).take([1]) == Pairs(["b"], ["y"], ["n"])


def test_pairs_refuse_columns_of_differing_length():
    with pytest.raises(DataError, match="2 anchors beside 1"):
        Pairs(["a", "b"], ["x", "y"], ["z"])


def test_items_of_pairs_are_the_distinct_texts():
    data = Data("p", "f", pairs=Pairs(["a", "b"], ["b", "c"], ["a", "d"]))
    assert data.items().texts == data.texts == ["a", "b", "c", "d"]


def test_held_out_anchors_are_a_tenth_and_never_trained_on():
    data = pairs_of(2000)
    held = set(data.retrieval(held_out=True).queries.texts)
    assert 150 < len(held) < 250
    assert set(data.training_pairs().anchors) == set(data.pairs.anchors) - held
    assert set(data.retrieval().queries.texts) == set(data.pairs.anchors)


def test_what_is_held_out_does_not_depend_on_order_or_on_the_other_rows():
    data = pairs_of(2000)
    half = Data("p", "f", pairs=data.pairs.take(range(1999, 999, -1)))
    held = set(data.retrieval(held_out=True).queries.texts)
    assert set(half.retrieval(held_out=True).queries.texts) == held & set(half.pairs.anchors)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_pairs_still_leave_one_to_hold_out_and_one_to_train_on(count):
    data = pairs_of(count)
    assert len(data.retrieval(held_out=True).queries) >= 1
    assert len(data.training_pairs()) >= 1


def test_one_anchor_cannot_be_split():
    with pytest.raises(DataError, match="one distinct anchor"):
        pairs_of(1).training_pairs()


def test_pairs_as_retrieval_search_all_distinct_positives():
    data = Data("p", "f", pairs=Pairs(["q", "r", "q"], ["x", "x", "y"]))
    task = data.retrieval()
    text = dict(zip(task.corpus.ids, task.corpus.texts, strict=True))
    found = {
        query: {text[document] for document in task.qrels[name]}
        for name, query in zip(task.queries.ids, task.queries.texts, strict=True)
    }
    assert task.corpus.texts == ["x", "y"]
    assert found == {"q": {"x", "y"}, "r": {"x"}}


def judged(qrels) -> Data:
    corpus = Items(["d1", "d2", "d3"], texts=["one", "two", ""])
    return Data("b", "f", corpus, Items(["q1", "q2"], texts=["first", "second"]), qrels)


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
    assert data.training_pairs() == Pairs(["first"], ["two"])


def test_vectors_have_no_texts():
    with pytest.raises(DataError, match="holds vectors"):
        _ = Data("v", "f", Items(["0"], vectors=np.zeros((1, 2), np.float32))).texts


def scored_of(count: int) -> Data:
    rows = range(count)
    pairs = ScoredPairs([f"sentence {row // 2}" for row in rows], [f"other {row}" for row in rows], [*map(float, rows)])
    return Data("s", "f", scored=pairs)


def test_scored_pairs_refuse_columns_of_differing_length_and_scores_that_are_no_numbers():
    with pytest.raises(DataError, match="2 first texts, 1 second texts and 2 scores"):
        ScoredPairs(["a", "b"], ["c"], [1.0, 2.0])
    with pytest.raises(DataError, match=r"row 1 .* has the score nan"):
        ScoredPairs(["a", "b"], ["c", "d"], [1.0, float("nan")])


def test_items_of_scored_pairs_are_the_distinct_texts():
    assert Data("s", "f", scored=ScoredPairs(["a", "b"], ["b", "c"], [1.0, 2.0])).texts == ["a", "b", "c"]


def test_scored_pairs_are_split_by_their_first_text():
    data = scored_of(4000)
    held, rest = data.similarity(held_out=True), data.training_scored()
    assert data.similarity() is data.scored
    assert len(held) + len(rest) == 4000
    assert 300 < len(held) < 500
    assert not set(held.first) & set(rest.first)
    place = {text: row for row, text in enumerate(data.scored.second)}
    assert all(held.scores[row] == place[text] for row, text in enumerate(held.second))
    turned = Data("s", "f", scored=data.scored.take(range(3999, -1, -1)))
    assert set(turned.similarity(held_out=True).second) == set(held.second)


def test_scored_pairs_of_one_sentence_cannot_be_split():
    with pytest.raises(DataError, match="one distinct sentence1"):
        scored_of(2).training_scored()
    assert pairs_of(3).training_scored() is pairs_of(3).similarity() is None
