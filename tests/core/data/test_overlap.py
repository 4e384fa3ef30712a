from __future__ import annotations

import numpy as np
import pytest

from anysize.core.data.data import Data
from anysize.core.data.overlap import KEPT, overlap_notes, sketch
from anysize.core.data.records import Items, Table


def texts(*names: str, fingerprint: str = "f") -> Data:
    return Data("t", fingerprint, corpus=Items([str(row) for row in range(len(names))], list(names)))


def said(learnt: Data, measured: Data, held_out: bool = False) -> str:
    return " ".join(overlap_notes([{"name": learnt.name, "sketch": sketch(learnt)}], measured, held_out=held_out))


def test_a_few_items_are_compared_exactly():
    learnt = texts("a", "b", "c", " d ")
    assert said(learnt, texts("x", "b", "d")).startswith("2 of 3 items measured are among those that the model learnt")
    assert said(learnt, texts("x", "y")) == ""
    assert said(learnt, texts("a"), held_out=True) == ""


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_of_many_a_sample_tells_the_share(share):
    learnt = texts(*(f"text {row}" for row in range(20_000)))
    seen = [f"text {row}" for row in range(int(2000 * share))]
    note = said(learnt, texts(*seen, *(f"other {row}" for row in range(2000 - len(seen)))))
    if not share:
        assert note == ""
        return
    found = float(note.split()[1])
    known = int(note.rpartition(" of ")[2].split(")")[0])
    assert note.startswith("about")
    assert abs(found / 100 - share) < 3 * (0.25 / known) ** 0.5 + 0.005
    assert abs(known - 2000 * KEPT / 20_000) < 30


def test_pairs_are_compared_by_the_anchors_that_training_sees():
    pairs = Table(
        {"anchor": [f"anchor {row}" for row in range(50)], "positive": [f"positive {row}" for row in range(50)]}
    )
    learnt = Data("p", "f", table=pairs)
    trained = set(learnt.training_pairs()["anchor"])
    rows = [row for row, anchor in enumerate(pairs["anchor"]) if anchor not in trained]
    assert said(learnt, Data("other file", "g", table=pairs)).startswith(f"{len(trained)} of 50 queries")
    assert said(learnt, Data("held out", "g", table=pairs.take(rows))) == ""


def test_judgements_are_compared_by_their_queries_and_not_by_the_corpus():
    corpus, queries = Items(["d"], ["document"]), Items(["q", "r"], ["first", "second"])
    split = {"train": {"q": {"d": 1.0}}, "test": {"r": {"d": 1.0}}}
    assert said(Data("b", "f", corpus, queries, split), Data("b", "f", corpus, queries, split)) == ""
    leaking = {"test": {"q": {"d": 1.0}, "r": {"d": 1.0}}}
    note = said(Data("b", "f", corpus, queries, split), Data("c", "g", corpus, queries, leaking))
    assert note.startswith("1 of 2 queries measured")


def test_scored_pairs_and_vectors():
    scored = Table(
        {
            "sentence1": [f"s {row}" for row in range(30)],
            "sentence2": ["t"] * 30,
            "score": [float(row) for row in range(30)],
        }
    )
    learnt = Data("s", "f", table=scored)
    assert said(learnt, Data("s", "g", table=scored)).startswith(f"{len(learnt.training_scored())} of 30 scored pairs")
    rows = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    one, other = (
        Data("v", "f", corpus=Items([str(i) for i in range(30)], part, "vector")) for part in (rows[:30], rows[10:])
    )
    assert said(one, other).startswith("20 of 30 items")


@pytest.mark.parametrize("broken", [None, {}, {"kept": "!!", "distinct": 3}, {"kept": 4, "distinct": 3}, "x"])
def test_what_is_no_sketch_says_nothing(broken):
    assert overlap_notes([{"name": "t", "sketch": broken}], texts("a"), held_out=False) == ()
