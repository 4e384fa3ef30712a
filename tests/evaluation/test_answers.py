"""What counts as right, and which questions a table asks."""

import pytest

from anysize.core.data.data import Data
from anysize.core.data.records import Table
from anysize.core.errors import AnysizeError, DataError
from anysize.evaluation.answers import AnswersEvaluator, plain, questions_of, right


def data(**columns):
    return Data("asked", "asked", table=Table(columns))


def test_answers_are_compared_without_capitals_points_and_articles():
    assert plain("The  Red car.") == "red car"
    assert right("A red car!", ["red car"]) == 1.0
    assert right("blue", ["red"]) == 0.0
    assert right("", [""]) == 0.0
    # VQA: three of ten people are enough
    assert [right("red", ["red"] * count + ["blue"] * (10 - count)) for count in (0, 1, 2, 3, 9)] == [
        0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0, 1.0,
    ]  # fmt: skip


def test_a_tenth_of_the_pictures_is_held_out():
    images = [f"{place // 2}.png" for place in range(200)]
    asked = data(image=images, question=["what"] * 200, answer=["this"] * 200, kind=["a", "b"] * 100)
    learnt, kept = (questions_of(asked, part) for part in ("learn", "held out"))
    there = [{row[0]["image"] for row in part.rows} for part in (learnt, kept)]
    assert not there[0] & there[1]
    assert len(there[0] | there[1]) == 100
    assert 2 <= len(there[1]) <= 25
    assert kept.kinds is not None
    assert len(kept.kinds) == len(kept.rows) == 2 * len(there[1])


def test_conversations_are_questions_turn_by_turn():
    turns = [
        {"from": "human", "value": "<image>\nwhat"}, {"from": "gpt", "value": "this"},
        {"from": "human", "value": "why"}, {"from": "gpt", "value": "so"},
    ]  # fmt: skip
    asked = questions_of(data(image=["a.png"], conversations=[turns]))
    assert [row[1]["text"] for row in asked.rows] == ["<image>\nwhat", "why"]
    assert asked.answers == [["this"], ["so"]]
    with pytest.raises(DataError, match="expected turns of human and gpt"):
        questions_of(data(image=["a.png"], conversations=[turns[:3]]))


def test_what_asks_nothing_is_refused():
    assert not AnswersEvaluator().accepts(data(image=["a.png"]))
    with pytest.raises(DataError, match="expected the columns image, question and answer"):
        questions_of(Data("none", "none"))
    with pytest.raises(AnysizeError, match="max-new-tokens must be above zero"):
        AnswersEvaluator(max_new_tokens=0)
