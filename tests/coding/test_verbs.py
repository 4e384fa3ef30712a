"""The commands of the face, as they are typed."""

from __future__ import annotations

import json

import pytest

import anysize as az
from anysize.cli.main import run as command
from anysize.coding.reading.data import read_folder


@pytest.fixture(scope="module")
def saved(coder, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "coder"
    coder.save(path)
    return path


def run(*words: object) -> int:
    return command([str(word) for word in words])


def test_a_text_is_coded_in_lines_and_as_json(saved, capsys):
    text = "хр. холецистит, обострение; ИБС."
    assert run("run", saved, text, "--size", "dims=8,candidates=10", "--top", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("0-14  хр. холецистит  ->  K81.1 ")
    assert len(lines) == 2
    assert lines[0].count(";") == 2
    assert run("run", saved, text, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["code"] for one in said["output"]["spans"]] == ["K81.1", "I25.9"]


def test_notes_become_brat_files_that_read_back(saved, tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("хр. гастрит, контроль через месяц.\nастма; люмбалгия.\n", "utf-8")
    assert run("run", saved, notes, "--out", tmp_path / "coded") == 0
    again = read_folder(tmp_path / "coded").documents
    expected = [one["spans"] for one in az.load(saved).run(notes.read_text("utf-8").split("\n")[:2])]
    assert [[(s.start, s.end, s.mention, s.code) for s in one.spans] for one in again] == [
        [(s["start"], s["end"], s["mention"], s["code"]) for s in one] for one in expected
    ]
    assert not (tmp_path / "coded.partial").exists()
    assert run("run", saved, notes, "--out", tmp_path / "coded") == 0  # its own folder may be replaced
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    assert run("run", saved, notes, "--out", tmp_path / "mine") == 2
    assert (tmp_path / "mine" / "letter.txt").read_text() == "x"


def test_a_stopped_run_goes_on_to_the_same_files(saved, tmp_path, monkeypatch):
    from anysize.core.verbs import run as running

    monkeypatch.setattr(running, "STEP", 2)
    texts = ["астма.", "ИБС.", "хр. гастрит.", "остеохондроз.", "люмбалгия."]
    model = az.load(saved)
    whole = az.run(model, texts, out=tmp_path / "whole")
    calls = 0
    coded = type(model).code

    def stops(self, *given, **more):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return coded(self, *given, **more)

    monkeypatch.setattr(type(model), "code", stops)
    with pytest.raises(KeyboardInterrupt):
        az.run(model, texts, out=tmp_path / "coded")
    monkeypatch.setattr(type(model), "code", coded)
    assert az.run(model, texts, out=tmp_path / "coded").before == 2
    assert whole.before == 0
    for file in sorted((tmp_path / "whole").glob("*.ann")):
        assert file.read_bytes() == (tmp_path / "coded" / file.name).read_bytes()


def test_measure_choose_and_cut(saved, clinic, tmp_path, capsys):
    page = tmp_path / "coding.html"
    assert run("measure", saved, clinic, "--html", page, "--sizes", "4:10,16:20", "--arms", "plain") == 0
    assert "code F1" in capsys.readouterr().out
    written = page.read_text("utf-8")
    assert "<section><h2>Documents</h2>" in written
    assert written.count("<div class='coded'>") == 20
    assert "хр. гастрит" in written or "хронический гастрит" in written
    assert run("choose", saved, "--within", "50%") == 0
    assert "dims=4,candidates=10" in capsys.readouterr().out
    assert run("cut", saved, "--size", "dims=8", "--out", tmp_path / "small") == 0
    assert az.load(tmp_path / "small").nesting.full == az.Size(dims=8, candidates=20)


def test_what_a_page_shows_is_escaped(coder, clinic):
    from dataclasses import replace

    from anysize.coding.scoring.panel import browser

    data = read_folder(clinic)
    bad = [replace(one, text="<script>астма</script>", spans=()) for one in data.to_measure(False)[:2]]
    panel = browser(coder, replace(data, documents=tuple(bad)), None)
    assert "<script>" not in panel.body
    assert "&lt;script&gt;" in panel.body


def test_fit_as_it_is_typed(clinic, tmp_path, capsys):
    words = ("--dims", "4,8", "--candidates", "10,20", "--folds", 2, "--iterations", 10, "--epochs", 1)
    assert run("fit", clinic, "--method", "icd", *words, "--out", tmp_path / "made") == 0
    assert "on folds of the training documents: code F1" in capsys.readouterr().out
    assert az.load(tmp_path / "made").nesting.values("dims") == (4, 8)


def test_a_folder_of_plain_texts_is_coded_a_file_a_text(saved, tmp_path, capsys):
    for name, text in {"a/1.txt": "ИБС;\nастма.", "2.txt": "", ".hidden": "x"}.items():
        (tmp_path / "notes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "notes" / name).write_text(text, "utf-8")
    assert run("run", saved, tmp_path / "notes", "--out", tmp_path / "coded") == 0
    there = sorted(one.relative_to(tmp_path / "coded").as_posix() for one in (tmp_path / "coded").rglob("*.txt"))
    assert there == ["2.txt", "a/1.txt"]
    assert (tmp_path / "coded" / "a" / "1.txt").read_text("utf-8") == "ИБС;\nастма."
    assert "I25.9" in (tmp_path / "coded" / "a" / "1.ann").read_text("utf-8")
    (tmp_path / "notes" / "bad.txt").write_bytes(b"\xff\xfe\x00")
    assert run("run", saved, tmp_path / "notes", "--out", tmp_path / "more") == 2
    assert "bad.txt is not UTF-8" in capsys.readouterr().err
