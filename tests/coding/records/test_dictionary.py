from __future__ import annotations

import pytest
from recipes.coding_sample import ABBREVIATIONS, CODES

from anysize.coding.records.dictionary import CodeDictionary, latin
from anysize.coding.records.documents import Span, normalised, trimmed, without_overlaps
from anysize.core.errors import DataError


def test_the_hierarchy_is_read_from_the_keys():
    known = CodeDictionary.of(
        {**CODES, "K80-K87": "Болезни желчного пузыря", "K00-K93": "Болезни пищеварения", "K81.11": "x"}
    )
    chain = ["K81.11"]
    while (parent := known.parent(chain[-1])) is not None:
        chain.append(parent)
    assert chain == ["K81.11", "K81.1", "K81", "K80-K87", "K00-K93"]
    assert [known.level(code) for code in ("K", "K80-K87", "K81", "K81.1", "00")] == [
        "chapter", "block", "category", "code", "other",
    ]  # fmt: skip
    assert known.children("K81") == ["K81.0", "K81.1"]
    assert [known.coarse("K81.1", level) for level in ("chapter", "category", "code")] == ["K", "K81", "K81.1"]


def test_abbreviations_are_written_out_beside_what_stands_there():
    known = CodeDictionary.of(CODES, ABBREVIATIONS)
    assert known.variants("ИБС, СД") == ["ИБС, СД", "ишемическая болезнь сердца, сахарный диабет"]
    assert known.variants("ибс") == ["ибс"]
    assert known.variants("ИБСА") == ["ИБСА"]


def test_cyrillic_letters_in_codes_are_latin_and_counted():
    assert latin("К81.1") == "K81.1"
    assert latin("А00-А09") == "A00-A09"
    assert latin("F13.00Н") == "F13.00Н"
    known = CodeDictionary.of({"К81": "Холецистит", "M42": "x"})
    assert list(known.names) == ["K81", "M42"]
    assert "1 codes begin with a Cyrillic letter" in known.notes[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("codes.csv", "code;name\nJ00;Cold\nJ00;Head cold\nJ01;Sinusitis\n"),
        (
            "codes.jsonl",
            '{"code": "J00", "name": "Cold"}\n{"code": "J00", "name": "Head cold"}\n{"code": "J01", "name": "S"}',
        ),
    ],
)
def test_a_table_may_give_a_code_several_names(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    known = CodeDictionary.read(tmp_path / name)
    assert set(known.names) == {"J00", "J01"}
    assert known.aliases == {"J00": ("Head cold",)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("J00: Cold\nJ01: S\nJ00: Again\n", "the key J00 in line 1 and in line 3"),
        ("- J00\n", "holds no mapping"),
        ("J00: [a\n", "is not YAML"),
        ("J00:\n  name: Cold\n", "line 1 is no code with its name"),
        ("", "holds no mapping"),
    ],
)
def test_a_bad_dictionary_is_refused_with_its_line(tmp_path, content, said):
    (tmp_path / "codes.yaml").write_text(content)
    with pytest.raises(DataError, match=said):
        CodeDictionary.read(tmp_path / "codes.yaml")


def test_spans_are_trimmed_but_keep_a_bracket_that_was_opened():
    assert trimmed(" хр. гастрит,", 0, 13) == (1, 12)
    assert trimmed("астма (аллергия).", 0, 17) == (0, 16)
    assert trimmed("астма).", 0, 7) == (0, 5)
    assert trimmed("...", 0, 3) == (0, 3)


def test_of_two_spans_that_overlap_the_shorter_stays():
    long, short, apart = Span(0, 10, ""), Span(4, 8, ""), Span(12, 14, "")
    assert without_overlaps([long, apart, short]) == (short, apart)


def test_spellings_of_one_name_are_normalised_alike():
    assert normalised(" Хр.  Холецистит,ОБОСТР. ") == normalised("хр холецистит обостр")
    assert normalised("тёмный") == normalised("темный")
