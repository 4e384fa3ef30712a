from __future__ import annotations

import json
import zipfile
from collections import Counter

import pytest
from recipes.coding_sample import documents, write

from anysize.coding.reading.brat import annotations_of, read_split
from anysize.coding.reading.data import coding_data, data_of, read_folder
from anysize.coding.records.dictionary import CodeDictionary
from anysize.coding.records.documents import Document, Span
from anysize.core.data.read import read
from anysize.core.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("clinic"), train=30, test=10)


def test_both_rules_for_newlines_give_the_spans_that_were_written(folder):
    read_ = read_folder(folder)
    wanted = {split: documents(count, seed) for split, count, seed in (("train", 30, 0), ("test", 10, 1))}
    assert any("\n" in text for text, spans in wanted["train"] if len(spans) > 1)
    for split, expected in wanted.items():
        mine = [one for one in read_.documents if one.split == split]
        assert [one.text for one in mine] == [text for text, _ in expected]
        assert [[(s.start, s.end, s.code) for s in one.spans] for one in mine] == [spans for _, spans in expected]
        assert all(one.text[s.start : s.end] == s.mention for one in mine for s in one.spans)
    assert any("train: offsets count a newline as two" in note for note in read_.notes)
    assert not any("test: offsets" in note for note in read_.notes)


def test_an_archive_and_jsonl_hold_the_same_documents(folder, tmp_path):
    whole = read_folder(folder)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"data/{file.relative_to(folder)}")
    assert read_folder(tmp_path).documents == whole.documents
    for split in ("train", "test"):
        lines = []
        for one in whole.documents:
            if one.split == split:
                entities = [{"start": s.start, "end": s.end, "text": s.mention, "code": s.code} for s in one.spans]
                lines.append(json.dumps({"id": one.name, "text": one.text, "entities": entities}))
        (tmp_path / "rows").mkdir(exist_ok=True)
        (tmp_path / "rows" / f"{split}.jsonl").write_text("\n".join(lines))
    again = {(one.split, one.name): one for one in read_folder(tmp_path / "rows").documents}
    assert again == {(one.split, one.name): one for one in whole.documents}


def test_files_with_carriage_returns_read_alike(folder, tmp_path):
    home = tmp_path / "train"
    home.mkdir()
    for file in (folder / "clinic_train").iterdir():
        (home / file.name).write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    expected = [one for one in read_folder(folder).documents if one.split == "train"]
    assert list(read_folder(tmp_path).documents) == expected


def test_what_is_written_reads_back(folder):
    whole = read_folder(folder).documents
    files = [(one.name, one.text, annotations_of(one)) for one in whole]
    again, notes, found = read_split(files, "train", "lf")
    assert [one.spans for one in again] == [one.spans for one in whole]
    assert found.exact["lf"] == found.spans == sum(len(one.spans) for one in whole)
    assert not notes


def test_a_wrong_rule_is_named_with_the_one_that_fits():
    files = [("0", "a\nb\ncold", "T1\tx 6 10\tcold\n")]
    read_, notes, _ = read_split(files, "train", "lf")
    assert [(s.start, s.end) for s in read_[0].spans] == [(4, 8)]
    assert "newline=crlf would fit better" in notes[0]


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ("T1\tx 0 99\tcold\n", "1 spans do not stand where"),
        ("T1\tx 0 4\tfever\n", "1 spans hold something else"),
        ("T1\tx 2 6\tcold\n", "1 spans have no code"),
        ("T1\tx 0 1\ta\nT1\tx 2 6\tcold\n", "1 spans have the id of another"),
        ("nonsense\nT1\tx 2 6\tcold\n", "1 lines are no annotation, the first in 7.ann line 1"),
    ],
)
def test_what_is_odd_is_counted_and_said(annotations, said):
    read_, notes, _ = read_split([("7", "a cold", annotations)], "test")
    assert any(said in note for note in notes), notes
    assert all(one.text[s.start : s.end] == s.mention for one in read_ for s in one.spans)


def test_a_mention_over_two_lines_keeps_its_second():
    read_, _, found = read_split([("0", "a bad\ncold", "T1\tx 2 10\tbad\ncold\nN1\tReference T1 i:3\tJ00\n")], "test")
    assert read_[0].spans[0].mention == "bad\ncold"
    assert read_[0].spans[0].code == "J00"
    assert found.exact == Counter(lf=1)


@pytest.mark.parametrize("line", ["T1\tx 0\tcold", "N1\tReference\tJ00", "T1\tx a b\tcold"])
def test_a_line_that_cannot_be_read_is_named(line):
    with pytest.raises(DataError, match=r"3\.ann line 1 is no"):
        read_split([("3", "cold", line)], "test")


def test_a_table_of_texts_and_codes_is_read(tmp_path):
    (tmp_path / "rows.csv").write_text("text,code\nhead cold,J00\nа cold,К81\n", "utf-8")
    documents_ = coding_data(read(tmp_path / "rows.csv")).documents
    assert [(one.text, one.spans[0].end, one.spans[0].code) for one in documents_] == [
        ("head cold", 9, "J00"),
        ("а cold", 6, "K81"),  # typed with a Cyrillic letter
    ]
    with pytest.raises(DataError, match="expected a folder of brat files, or a table"):
        coding_data(read([{"anchor": "a", "positive": "b"}]))


def test_codes_that_the_dictionary_lacks_are_named_and_stay(folder, tmp_path):
    for file in (folder / "clinic_test").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes().replace(b"K81.1", b"Q99.9"))
    (tmp_path / "codes.yaml").write_bytes((folder / "codes.yaml").read_bytes())
    data = read_folder(tmp_path)
    assert any("the dictionary lacks (Q99.9)" in note for note in data.notes)
    assert any("Q99.9" in one.codes for one in data.documents)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("0.ann", b"", "without 0.txt"),
        ("data.zip", b"PK no", "no zip archive"),
        ("nothing.md", b"x", "holds no documents"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_folder(tmp_path)


def test_a_text_that_is_no_utf8_is_named(tmp_path):
    (tmp_path / "0.txt").write_bytes("холецистит".encode("cp1251"))
    (tmp_path / "0.ann").write_bytes(b"")
    with pytest.raises(DataError, match=r"0\.txt is not UTF-8"):
        read_folder(tmp_path)


def test_codes_with_letters_that_look_alike_are_read_as_the_dictionary_has_them():
    dictionary = CodeDictionary.of({"F13.00\u041d": "Острая интоксикация", "K81.1": "Хронический холецистит"})
    spans = (Span(0, 4, "опий", "F13.00H"), Span(5, 9, "опий", "\u041a81.1"), Span(10, 14, "опий", "Z99.9"))
    data = data_of("notes", [Document("1", "опий опий опий", spans)], dictionary)
    assert [one.code for one in data.documents[0].spans] == ["F13.00\u041d", "K81.1", "Z99.9"]
    assert any("2 codes of spans are written with letters" in note and "F13.00H" in note for note in data.notes)
    assert any("1 spans have a code that the dictionary lacks (Z99.9)" in note for note in data.notes)
