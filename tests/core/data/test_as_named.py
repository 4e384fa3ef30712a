"""Columns that keep their names: files beside a table, lists of parts, and what means nothing to the reader."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from pathlib import Path

import datasets
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items, Table
from anysize.core.errors import DataError

PICTURES = {"a.png": b"\x89PNG one", "b.jpg": b"jpeg two", "deep/c.webp": b"riff three"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in PICTURES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "outside.png").write_bytes(b"secret")
    return tmp_path / "in"


def table(folder: Path, rows: list[dict], name: str = "t.jsonl") -> Data:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return read(folder / name)


ASKED = [
    {"image": "a.png", "question": "what?", "answer": "one"},
    {"image": "deep/c.webp", "question": "who?", "answer": 3},
    {"image": "a.png", "question": "why?", "answer": None},
]


def test_a_column_of_files_is_their_paths_and_the_others_keep_their_names(folder):
    data = table(folder, ASKED)
    assert data.table.kinds == {"image": "image"}
    assert data.table["image"] == [folder / "a.png", folder / "deep/c.webp", folder / "a.png"]
    assert [data.table[name] for name in ("question", "answer")] == [["what?", "who?", "why?"], ["one", 3, None]]
    assert (data.corpus, data.pairs, data.notes) == (None, None, ())
    assert data.items().of == "image"
    assert data.items().rows == [folder / "a.png", folder / "deep/c.webp"]


def test_the_fingerprint_is_of_what_files_hold_wherever_they_lie(folder, tmp_path):
    first = table(folder, ASKED).fingerprint
    shutil.copytree(folder, tmp_path / "moved")
    assert read(tmp_path / "moved" / "t.jsonl").fingerprint == first
    pandas.DataFrame(ASKED[:2]).to_csv(folder / "t.csv", index=False)
    assert read(folder / "t.csv").fingerprint == table(folder, [ASKED[0], {**ASKED[1], "answer": "3"}]).fingerprint
    held = [{**row, "image": str(folder / row["image"])} for row in ASKED]
    assert read(held).fingerprint == first
    (tmp_path / "moved" / "a.png").write_bytes(b"other")
    assert read(tmp_path / "moved" / "t.jsonl").fingerprint != first
    assert table(folder, [ASKED[0], ASKED[2], ASKED[1]]).fingerprint != first


def test_bytes_and_paths_of_datasets_are_files_that_nobody_decodes(folder):
    rows = [{"photo": str(folder / "a.png"), "label": 1}, {"photo": str(folder / "b.jpg"), "label": 0}]
    declared = datasets.Dataset.from_list(rows).cast_column("photo", datasets.Image())
    data = read(declared)
    assert (data.corpus.of, data.corpus.rows, data.labels) == ("image", [folder / "a.png", folder / "b.jpg"], [1, 0])
    cells = [{"bytes": PICTURES[name], "path": name} for name in ("a.png", "b.jpg")]
    inside = [{"photo": cells[0], "label": 1}, {"photo": cells[1], "label": 0}]
    pq.write_table(pa.Table.from_pylist(inside), folder / "p.parquet")
    held = read(folder / "p.parquet")
    assert held.corpus.rows == [PICTURES["a.png"], PICTURES["b.jpg"]]
    assert held.fingerprint == data.fingerprint == table(folder, [
        {"photo": "a.png", "label": 1}, {"photo": "b.jpg", "label": 0}
    ]).fingerprint  # fmt: skip


def test_parts_are_read_in_order_with_their_files(folder):
    rows = [
        {"anchor": [{"image": "a.png"}, {"text": "red"}], "positive": [{"text": "x"}, {"image": "b.jpg"}]},
        {"anchor": [{"type": "text", "text": "blue"}], "positive": [{"type": "image", "image": "b.jpg"}]},
    ]
    data = table(folder, rows)
    assert data.table.kinds == {"anchor": "parts", "positive": "parts"}
    assert data.table["anchor"] == [[{"image": folder / "a.png"}, {"text": "red"}], [{"text": "blue"}]]
    assert (len(data.items()), data.items().of) == (4, "parts")
    task = data.retrieval()
    assert [len(task.queries), len(task.corpus), task.qrels] == [2, 2, {"q0": {"d0": 1.0}, "q1": {"d1": 1.0}}]
    assert len(data.training_pairs()) == 1
    pq.write_table(pa.Table.from_pylist(rows), folder / "p.parquet")
    assert read(folder / "p.parquet").fingerprint == data.fingerprint


@pytest.mark.parametrize("ending", ["wav", "mp4"])
def test_sounds_and_films_beside_their_transcripts(folder, ending):
    (folder / f"s.{ending}").write_bytes(b"sound")
    kind = {"wav": "audio", "mp4": "video"}[ending]
    data = table(folder, [{"clip": f"s.{ending}", "transcript": "one two"}])
    assert (data.table.kinds, data.table["transcript"]) == ({"clip": kind}, ["one two"])


def test_a_folder_of_pictures_is_items_and_inner_folders_are_labels(folder):
    data = read(folder)
    assert data.corpus == Items(sorted(PICTURES), [folder / name for name in sorted(PICTURES)], "image")
    assert (data.labels, data.name) == (None, "in")
    (folder / "a.png").unlink()
    (folder / "b.jpg").rename(folder / "deep" / "b.jpg")
    (folder / "deep" / "readme.md").write_text("no picture")
    data = read(folder)
    assert (data.labels, data.notes) == (["deep", "deep"], ("1 other files are not read",))
    assert read([Path(folder / "deep/c.webp")]).corpus.of == "image"
    (folder / "deep" / "d.wav").write_bytes(b"sound")
    with pytest.raises(DataError, match="holds audio and image files; name a table"):
        read(folder)


def test_a_text_that_looks_like_a_file_is_a_text(folder):
    assert table(folder, [{"text": "nothere.png"}]).texts == ["nothere.png"]
    assert table(folder, [{"text": "a picture"}, {"text": "a.png"}]).texts == ["a picture", "a.png"]


def linked(folder: Path) -> str:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    return "link.png"


def piped(folder: Path) -> str:
    os.mkfifo(folder / "pipe.png")
    return "pipe.png"


def circle(folder: Path) -> str:
    (folder / "x.png").symlink_to(folder / "x.png")
    return "x.png"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("gone.png", r"line 2: there is no file 'gone.png' in "),
        ("../outside.png", r"line 2: '../outside.png' leads out of .*in; expected a file within it"),
        ("deep/../../outside.png", "leads out of"),
        (lambda folder: str(folder / "a.png"), "leads out of"),
        ("/dev/zero", "leads out of"),
        (linked, "leads out of"),
        (piped, "there is no file"),
        (circle, "there is no file"),
        ("deep", "there is no file"),
        ("a\0.png", "there is no file"),
        ("a" * 5000 + ".png", "there is no file"),
        (None, "line 2: the image is missing; expected the path"),
        (7, "the image is no path"),
        ("", "the image is no path"),
        ([{"text": "a"}], "the image is no path"),
    ],
)
def test_what_is_no_file_beside_the_table_is_refused_by_its_row(folder, cell, message):
    given = cell(folder) if callable(cell) else cell
    with pytest.raises(DataError, match=message) as caught:
        table(folder, [{"image": "a.png"}, {"image": given}])
    assert "\n" not in str(caught.value)


def test_parts_that_are_none_are_refused_by_their_row(folder):
    for wrong in ([], "a", [{"text": 1}], [{"image": "a.png", "text": "both"}], [{"sound": "a"}], None):
        with pytest.raises(DataError, match=r"line 2: expected a list of parts"):
            table(folder, [{"doc": [{"text": "a"}]}, {"doc": wrong}])
    with pytest.raises(DataError, match="leads out of"):
        table(folder, [{"doc": [{"text": "a"}]}, {"doc": [{"image": "../outside.png"}]}])


def test_columns_that_mean_nothing_here_are_a_table_of_their_own_names(folder):
    rows = [{"prompt": "a", "answer": "b", "paraphrase": ["c", "d"]}, {"prompt": "e", "answer": None, "more": 1}]
    data = table(folder, rows)
    assert data.table == Table({"prompt": ["a", "e"], "answer": ["b", None], "paraphrase": [["c", "d"], None]})
    assert data.notes == ("the columns more are not in the first row and are not read",)
    spans = [{"text": "ab", "spans": [{"start": 0, "end": 1, "code": "X"}]}]
    assert table(folder, spans).table == Table({"text": ["ab"], "spans": [spans[0]["spans"]]})
    with pytest.raises(DataError, match="t has the columns prompt, answer, paraphrase; expected anchor"):
        data.items()


def channels(path: Path) -> Data:
    return Data("channels", hashlib.sha256(path.name.encode()).hexdigest(), table=Table({"channel": [[1.0, 2.0]]}))


def broken(path: Path) -> Data:
    raise KeyError("gain")


def nothing(path: Path) -> None:
    return None


@pytest.mark.parametrize("place", ["study", "links.sig"])
def test_what_is_no_table_is_read_by_whoever_registers_for_it(place, tmp_path, monkeypatch):
    made = tmp_path / place
    if place == "study":
        made.mkdir()
        (made / "notes.stand").write_text("T1")
    else:
        made.write_bytes(b"sig")
    reader = "channels"

    def entry_points(*, group, name=None):
        listed = [
            importlib.metadata.EntryPoint(marker, f"{__name__}:{reader}", "anysize.readers")
            for marker in ("*.stand", "*.sig")
            if group == "anysize.readers" and name in (None, marker)
        ]
        return importlib.metadata.EntryPoints(listed)

    with pytest.raises(DataError, match=r"holds no corpus\.jsonl|cannot tell what"):
        read(made)
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert read(made).table["channel"] == [[1.0, 2.0]]
    reader = "broken"
    with pytest.raises(DataError, match=r"cannot be read as \*\.(stand|sig) \('gain'\)"):
        read(made)
    reader = "nothing"
    with pytest.raises(DataError, match=r"holds no corpus\.jsonl|cannot tell what"):
        read(made)  # it is not for this reader after all


def test_what_is_held_out_goes_by_what_files_hold_and_not_by_their_names(folder):
    rows = []
    for number in range(30):
        for name in (f"{number}.png", f"deep/copy_{number}.png"):
            (folder / name).write_bytes(b"picture %d" % number)
            rows.append({"image": name, "question": name, "answer": "yes"})
    learn, held = table(folder, rows).table.held_out("image")
    seen, kept = ({file.read_bytes() for file in part["image"]} for part in (learn, held))
    assert kept
    assert not seen & kept
    assert len(held) == 2 * len(kept)


def test_files_of_one_name_in_two_folders_are_two_items(folder):
    (folder / "other").mkdir()
    (folder / "other" / "a.png").write_bytes(b"another")
    data = table(folder, [{"image": "a.png", "question": "x"}, {"image": "other/a.png", "question": "x"}])
    assert data.items().rows == [folder / "a.png", folder / "other/a.png"]


def test_reading_many_files_shows_how_far_it_has_come(folder, monkeypatch, capsys):
    monkeypatch.setattr("anysize.core.progress.EVERY", -1.0)
    table(folder, ASKED)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()][-1].startswith("reading: 2 files")
