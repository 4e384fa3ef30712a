from __future__ import annotations

import numpy as np
import pytest

from anysize.coding.records.documents import Span
from anysize.coding.scoring.counts import Counts
from anysize.core.errors import DataError

GOLD = [
    [Span(0, 4, "", "J00"), Span(6, 9, "", "J01"), Span(11, 12, "", None)],
    [Span(0, 4, "", "J00"), Span(5, 8, "", "J00")],
    [],
]
FOUND = [
    [Span(0, 4, "", "J01"), Span(6, 9, "", "J01"), Span(-1, 3, "", "J02"), Span(6, 9, "", "J01")],
    [Span(0, 4, "", "J00"), Span(9, 10, "", "J03")],
    [Span(0, 1, "", None)],
]


def test_the_released_numbers_counted_by_hand():
    found = Counts.of(GOLD, FOUND).released()
    # spans: 2 right of 2 found, then 1 of 2 with one missed; with codes 1 of 2, then 1 of 2; codes 1 of 1, then 1 of 2
    assert found["NER precision"] == pytest.approx(3 / 4)
    assert found["NER recall"] == pytest.approx(3 / 4)
    assert found["NER accuracy"] == pytest.approx(3 / 5)
    assert found["NER+Linking F-score"] == pytest.approx(2 / 4)
    assert found["Code assignment precision"] == pytest.approx(2 / 3)
    assert found["Code assignment recall"] == pytest.approx(2 / 3)
    assert found["Code assignment accuracy"] == pytest.approx(2 / 4)
    assert found["Document-level NER accuracy"] == pytest.approx(2 / 3)
    assert found["Document-level Code assignment accuracy"] == pytest.approx(2 / 3)
    assert len(found) == 14


def test_who_finds_everything_pleases_the_document_accuracy_alone():
    everything = [[Span(0, 4, "", code) for code in ("J00", "J01", "J02", "J03")]] * 3
    counts = Counts.of(GOLD, everything)
    assert counts.released()["Document-level Code assignment accuracy"] == 1
    assert counts.exact("Code assignment").tolist() == [0, 0, 0]


def test_pseudo_values_have_the_f1_as_their_mean_and_its_spread():
    rng = np.random.default_rng(0)
    gold = [[Span(0, 1, "", f"J0{n}") for n in rng.choice(8, rng.integers(0, 4), False)] for _ in range(300)]
    found = [[Span(0, 1, "", f"J0{n}") for n in rng.choice(8, rng.integers(0, 4), False)] for _ in range(300)]
    values = Counts.of(gold, found).f1("Code assignment")
    assert values.mean() == pytest.approx(Counts.of(gold, found).released()["Code assignment F-score"])
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, 300, 300)
        some = Counts.of([gold[row] for row in rows], [found[row] for row in rows])
        drawn.append(some.released()["Code assignment F-score"])
    assert values.std() / 300**0.5 == pytest.approx(np.std(drawn), rel=0.15)


def test_as_many_documents_on_both_sides():
    with pytest.raises(DataError, match="2 documents cannot be scored against 3"):
        Counts.of(GOLD, FOUND[:2])
    with pytest.raises(DataError, match="give one for each, and some"):
        Counts.of([], [])
