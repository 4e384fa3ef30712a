from __future__ import annotations

import pytest

from anysize.core.data.records import Table
from anysize.core.errors import DataError
from anysize.text.arabic.translated import filter_translated_triplets, latin_ratio

GOOD = ("رجل يقطع السمك", "يتم قطع سمكة", "رجل لا يقطع السمك")


def triplets(*rows: tuple[str, str, str]) -> Table:
    return Table(dict(zip(("anchor", "positive", "negative"), map(list, zip(*rows, strict=True)), strict=True)))


def test_each_kind_of_damage_is_dropped_and_counted():
    rows = triplets(
        GOOD,
        (GOOD[0], "أ", GOOD[2]),
        (GOOD[0], "A man is cutting سمكة", GOOD[2]),
        (GOOD[0], GOOD[0], GOOD[2]),
        (GOOD[0], GOOD[1], GOOD[1]),
        (GOOD[2], GOOD[1], GOOD[2]),
        GOOD,
        ("امرأة تعزف", "امرأة تعزف على الفلوت", "لا أحد يعزف"),
    )
    kept, dropped = filter_translated_triplets(rows)
    assert kept == rows.take([0, 7])
    assert dropped == {"too short": 1, "not translated": 1, "equal texts": 3, "repeated": 1}


def test_texts_are_compared_as_they_are_spelt_after_normalising():
    rows = Table({"anchor": ["أَكَلَ الولد", "أكل  الولد"], "positive": ["اكل الولد", "شرب الولد"]})
    kept, dropped = filter_translated_triplets(rows)
    assert (kept["anchor"], dropped["equal texts"]) == (["أكل  الولد"], 1)
    assert kept.negatives == []
    assert len(filter_translated_triplets(rows, normalizer=str).rows) == 2
    twice = Table({"anchor": ["أكل الولد", "اكل الولد"], "positive": ["شرب", "شرب"]})
    assert filter_translated_triplets(twice).dropped["repeated"] == 1
    assert len(filter_translated_triplets(twice, drop_repeated=False).rows) == 2


def test_the_limits_can_be_moved():
    rows = Table({"anchor": ["لا BMW", "نعم نعم"], "positive": ["سيارة BMW", "نعم نعم"]})
    assert filter_translated_triplets(rows, max_latin_ratio=1, drop_equal=False).rows == rows
    assert filter_translated_triplets(rows, max_latin_ratio=0.5, drop_equal=False).dropped["not translated"] == 1
    assert filter_translated_triplets(rows, min_len=7, max_latin_ratio=1, drop_equal=False).dropped["too short"] == 1


def test_latin_letters_are_counted_among_letters():
    assert latin_ratio("abc 123 دهر") == 0.5
    assert latin_ratio("١٢٣ ...") == 0
    assert latin_ratio("naïve Ünal") == 1
    assert latin_ratio("Ωμέγα") == 0


def test_nothing_left_and_bad_limits_are_refused():
    with pytest.raises(DataError, match=r"none of 1 rows is left \(0 too short, 1 not translated"):
        filter_translated_triplets(Table({"anchor": ["a man runs"], "positive": ["رجل يركض"]}))
    with pytest.raises(DataError, match="expected 0 to 1, got 2"):
        filter_translated_triplets(Table({"anchor": ["a"], "positive": ["b"]}), max_latin_ratio=2)
