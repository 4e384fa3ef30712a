from __future__ import annotations

import json

import pytest

from anysize.cli.verbs import demo as module
from anysize.core.errors import DataError
from anysize.text import docstrings
from tests.conftest import sentence, tree


@pytest.fixture
def package(tmp_path):
    """A package of 230 documented functions whose description repeats words of the summary."""
    import random

    rng = random.Random(0)
    root = tmp_path / "package"
    root.mkdir()
    for number in range(23):
        functions = []
        for index in range(10):
            summary = sentence(rng, 6)
            rest = " ".join([*summary.split()[:3], *(sentence(rng, 10).split())])
            functions.append(f'def f{index}():\n    """{summary}\n\n    {rest}\n    """\n')
        (root / f"m{number}.py").write_text("\n".join(functions), "utf-8")
    return root


@pytest.fixture
def small(package, encoder_path, monkeypatch, tmp_path):
    real = docstrings.collect
    monkeypatch.setattr(docstrings, "collect", lambda limit: real(limit, (package,)))
    monkeypatch.setattr(module, "MODEL", str(encoder_path))
    monkeypatch.chdir(tmp_path)


def test_the_demo_does_the_whole_job(small, anysize, tmp_path, monkeypatch):
    said = anysize("demo", "--out", "d", "--limit", "210")
    assert said.status == 0, said.err
    for word in ("ndcg@10", "within 1 %", "anysize search d/index", "anysize fit", *module.QUESTIONS):
        assert word in said.out
    assert [line[:3] for line in said.err.splitlines() if line[:1].isdigit()] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    for name in ("frontier.png", "frontier.html", "model/frontier.json", "model/anysize.json", "corpus/corpus.jsonl"):
        assert (tmp_path / "d" / name).is_file()
    assert json.loads((tmp_path / "d/model/anysize.json").read_text())["about"]["learnt_from"] == "pairs"
    # What it says to try next works, and so does a second demo in the same place.
    found = anysize("search", "d/index", "balan demer", "--json")
    assert found.status == 0, found.err
    assert len(found.json["hits"]) == 10
    assert anysize("choose", "d/model", "--within", "50%").status == 0
    monkeypatch.setattr("anysize.core.verbs.measure.FEW", 1000)
    again = anysize("demo", "--out", "d", "--limit", "210", "--json")
    assert again.status == 0, again.err
    assert "note: only 52 queries: fewer than 1000 tell little" in again.err
    assert set(again.json) == {"frontier", "within 1%", "as good as original", "answers", "seconds"}
    assert [answer["query"] for answer in again.json["answers"]] == list(module.QUESTIONS)
    assert {record["arm"] for record in again.json["frontier"]["records"]} == {"nested", "truncate", "pca", "original"}


def test_too_few_are_refused(small, anysize, tmp_path):
    before = tree(tmp_path)
    anysize("demo", "--out", "d", "--limit", "10").refused("at least 200")
    assert tree(tmp_path) == before


def test_a_folder_of_someone_else_is_left_alone(small, anysize, tmp_path):
    (tmp_path / "d" / "corpus").mkdir(parents=True)
    (tmp_path / "d" / "corpus" / "novel.txt").write_text("mine")
    before = tree(tmp_path)
    anysize("demo", "--out", "d", "--limit", "210").refused("not ours to replace")
    assert tree(tmp_path) == before


def test_a_corpus_of_someone_else_is_left_alone(small, package, anysize, tmp_path):
    docstrings.write_beir(docstrings.collect(210), tmp_path / "d" / "corpus", held_out=50)
    before = tree(tmp_path)
    anysize("demo", "--out", "d", "--limit", "210").refused("not ours to replace")
    assert tree(tmp_path) == before


def test_docstrings_are_collected_in_an_order_fixed_by_their_content(package):
    one = docstrings.collect(100, (package,))
    assert docstrings.collect(100, (package,)) == one
    assert docstrings.collect(60, (package,)) == one[:60]
    assert len({item.summary for item in one}) == 100
    assert all(len(item.description) <= docstrings.MAX_CHARACTERS for item in one)


def test_a_folder_with_too_few_docstrings_is_refused(tmp_path):
    (tmp_path / "broken.py").write_bytes(b"def f(:\n\xff")
    with pytest.raises(DataError, match="only 0 documented functions"):
        docstrings.collect(100, (tmp_path,))


def test_the_data_set_splits_questions_and_keeps_every_answer(package, tmp_path):
    from anysize.core.data.read import read

    items = docstrings.collect(100, (package,))
    docstrings.write_beir(items, tmp_path / "beir", held_out=25)
    data = read(tmp_path / "beir")
    assert len(data.training_pairs()) == 75
    assert len(data.retrieval("test").queries) == 25
    assert len(data.corpus) == 100
    asked = set(data.retrieval("test").queries.texts)
    assert not asked & set(data.training_pairs()["anchor"])
