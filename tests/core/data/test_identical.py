from __future__ import annotations

import numpy as np
import pytest

from anysize.core.data.data import Data
from anysize.core.data.records import Items, Table
from anysize.core.errors import AnysizeError
from anysize.evaluation.identical import say, spare
from anysize.evaluation.ranking import evaluate_each


def questions(identical: str) -> Data:
    """Duplicate questions: `a` is a document, `b` one with a title before it, `1` is numbered like another document."""
    corpus = Items(["a", "b", "1", "x"], ["how to fly", "Title what is red", "why", "flying, how"])
    queries = Items(["a", "b", "1"], ["how to fly", "what is red", "how to fly"])
    qrels = {"a": {"x": 1.0}, "b": {"x": 1.0}, "1": {"a": 1.0}}
    return Data("q", "f", corpus, queries, {"test": qrels}, identical=identical)


@pytest.mark.parametrize(
    ("rule", "left_out"),
    [
        # The third query asks for `a` by the same words and `a` is judged relevant, so it stays.
        ("drop", {"a": {"a"}, "b": {"b"}}),
        ("ids", {"a": {"a"}, "b": {"b"}, "1": {"1"}}),
        ("keep", {}),
    ],
)
def test_what_each_rule_leaves_out(rule, left_out):
    task = questions(rule).judged()
    assert task.left_out == left_out
    assert spare(task) == (1 if left_out else 0)
    assert [f"{len(left_out)} of 3 queries" in note for note in say(rule, task)] == [True] * bool(left_out)


def test_a_ranking_is_scored_without_the_query_itself():
    ranked = np.array([[0, 3, 1, 2], [1, 0, 3, 2], [2, 0, 1, 3]])
    found = {rule: evaluate_each(questions(rule).judged(), ranked, ("mrr@3",))["mrr@3"] for rule in ("drop", "ids")}
    assert found["drop"].tolist() == [1.0, 0.5, 0.5]
    assert found["ids"].tolist() == [1.0, 0.5, 1.0]
    assert evaluate_each(questions("keep").judged(), ranked, ("mrr@3",))["mrr@3"].tolist() == [0.5, 1 / 3, 0.5]


def test_paraphrases_that_ask_each_other():
    pairs = Table({"anchor": ["one", "two", "three"], "positive": ["two", "three", "one"]})
    task = Data("p", "f", table=pairs).judged()
    place = {text: name for name, text in zip(task.corpus.ids, task.corpus.texts, strict=True)}
    assert task.left_out == {f"q{row}": {place[text]} for row, text in enumerate(pairs["anchor"])}


def test_vectors_are_themselves_by_id_and_value():
    rows = np.eye(3, dtype=np.float32)
    corpus, queries = Items(["a", "b", "c"], rows, "vector"), Items(["a", "b"], rows[[0, 2]], "vector")
    data = Data("v", "f", corpus, queries, {"test": {"a": {"c": 1.0}, "b": {"a": 1.0}}})
    assert data.judged().left_out == {"a": {"a"}}


def test_an_unknown_rule_is_refused():
    with pytest.raises(AnysizeError, match=r"'some' is no rule .* use drop, ids or keep"):
        questions("some").judged()
