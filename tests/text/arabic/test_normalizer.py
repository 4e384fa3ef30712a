# ruff: noqa: RUF001
from __future__ import annotations

import itertools
import unicodedata
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anysize.text.arabic.normalizer import ArabicNormalizer

NOTHING = ArabicNormalizer(*[False] * 7)
EVERYTHING = ArabicNormalizer(*[True] * 7)
CASES = [
    ("diacritics", "السَّلَامُ عَلَيْكُمْ وَرَحْمَةُ ٱللَّهِ", "السلام عليكم ورحمة ٱلله"),
    ("diacritics", "هٰذَا قُرْءَانٌ كَرِيمٌۚ", "هذا قرءان كريم"),
    ("tatweel", "مـــرحبا بـكم", "مرحبا بكم"),
    ("alef", "أحمد وإبراهيم في آخر ٱلأمر", "احمد وابراهيم في اخر الامر"),
    ("ya", "علی كرسي في مستشفى", "علي كرسي في مستشفي"),
    ("ta_marbuta", "مدرسة جديدة", "مدرسه جديده"),
    ("digits", "عام ٢٠٢٤ و ۱۳۹۹", "عام 2024 و 1399"),
    ("presentation_forms", "ﻣﺮﺣﺒﺎ ﺑﻜﻢ ﻻ ﷺ", "مرحبا بكم لا صلى الله عليه وسلم"),
]


@pytest.mark.parametrize(("name", "text", "expected"), CASES)
def test_each_step_does_its_own_work_and_no_other(name, text, expected):
    only = replace(NOTHING, **{name: True})
    assert only(text) == unicodedata.normalize("NFC", expected)
    assert NOTHING(text) == unicodedata.normalize("NFC", text)
    others = replace(NOTHING, **{field.name: field.name != name for field in fields(ArabicNormalizer)})
    assert others(text) != EVERYTHING(text)


def test_the_defaults_keep_what_tells_words_apart():
    assert ArabicNormalizer()("أَكَلَ عَلِيٌّ عَلَى المائدة ٣ مـرات") == "اكل علي على المائدة 3 مرات"
    assert EVERYTHING("عَلَى مائدةٍ") == "علي مائده"


def test_lists_and_other_scripts():
    normalize = ArabicNormalizer()
    assert normalize(["أب", "Été 3 naïve ½ Ωμέγα 日本"]) == ["اب", "Été 3 naïve ½ Ωμέγα 日本"]
    assert normalize([]) == []
    assert normalize("") == ""


def test_a_hamza_is_spelling_not_a_vowel_mark():
    # The same word typed with a combining hamza, and with a vowel between the letter and its hamza.
    assert ArabicNormalizer(alef=False)("ا\u0654كل") == "أكل"
    assert ArabicNormalizer(alef=False)("ا\u064e\u0654كل") == "أكل"
    assert ArabicNormalizer()("سو\u0654ال") == "سؤال"
    assert ArabicNormalizer()("ا\u0653خر") == "اخر"
    assert ArabicNormalizer(diacritics=False)("أَ") == "اَ"


def test_isolated_marks_of_the_presentation_block_leave_no_space():
    assert ArabicNormalizer()("ك\ufe76تب") == "كتب"
    assert ArabicNormalizer(diacritics=False)("ك\ufe76تب") == "كَتب"


LETTERS = (
    "ابتأإآٱٲىيیةهوئؤ 1a٣۴ـ\u064b\u064e\u0651\u0652\u0653\u0654\u0655\u0670\u0610\u06d6\u08f0\ufefb\ufe76\ufdfa\ufe71"
)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=LETTERS, max_size=12))
def test_applying_it_twice_changes_nothing_whatever_the_steps(text):
    for flags in itertools.product([False, True], repeat=5):
        normalize = ArabicNormalizer(flags[0], flags[1], flags[2], flags[3], flags[4], flags[4], flags[4])
        once = normalize(text)
        assert normalize(once) == once


def test_it_can_be_written_down_and_not_changed():
    with pytest.raises(FrozenInstanceError):
        ArabicNormalizer().ya = True
    assert repr(ArabicNormalizer()).startswith("ArabicNormalizer(diacritics=True, tatweel=True, alef=True, ya=False")
