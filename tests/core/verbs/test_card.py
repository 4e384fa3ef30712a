"""Model cards: names of any kind come through YAML unharmed, and what is not known is left out."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anysize.core.engine_checks import Exported
from anysize.core.files import README, theirs
from anysize.core.sizes.size import Size
from anysize.core.verbs.card import cut_card, quoted
from anysize.core.verbs.load import load
from tests.conftest import spread_vectors

yaml = pytest.importorskip("yaml")
SIZE, AS = Size(layers=2, dims=24), Exported("sentence-transformers", how='SentenceTransformer("x")')


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---\n", 2)[1])


@given(st.text())
@example("a: b # c")
@example("no")
@example("\x00\x7f\x85\u2028\ufeff\U0001f680\"'\\")
def test_every_text_is_the_same_after_yaml(text):
    assert yaml.safe_load(f"key: {quoted(text)}") == {"key": text.encode("utf-8", "replace").decode()}


@given(st.text(), st.text(), st.text())
def test_whatever_things_are_called_the_card_is_read(name, method, data):
    about = {"method": method, "data": {"name": data, "fingerprint": "ab"}, "options": {"model": name}}
    found = front(cut_card(name, SIZE, AS, about).decode())
    assert found["library_name"] == "sentence-transformers"
    written = method.encode("utf-8", "replace").decode()
    assert found["tags"] == list(dict.fromkeys(t for t in ("matryoshka", "anysize", written, AS.format) if t))


def test_what_is_known_is_said_and_nothing_else(tmp_path):
    about = {"method": "mrl", "data": {"name": "docs", "fingerprint": "f" * 64}, "options": {"model": "org/base"}}
    text = cut_card("small", SIZE, AS, about).decode()
    assert front(text) == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "base_model": "org/base",
        "tags": ["matryoshka", "anysize", "mrl", "sentence-transformers"],
    }
    assert f"| fingerprint of that data | `{'f' * 64}` |" in text
    assert "Figures" not in text
    (tmp_path / README).write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# base\n")
    found = front(cut_card("small", SIZE, AS, {"options": {"model": str(tmp_path)}}).decode())
    assert "base_model" not in found  # the hub knows no folder of this machine
    assert found["license"] == "apache-2.0"
    assert set(front(cut_card("small", SIZE, Exported("gguf"), {}).decode())) == {"library_name", "tags"}


def test_fit_leaves_a_card_and_measure_its_figures_until_somebody_writes_there(anysize, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", spread_vectors(64))
    fit = ("fit", "v.npy", "--out", "m", "--dims", "4,8", "--epochs", "1")
    assert anysize(*fit).status == 0
    file = tmp_path / "m" / README
    first = file.read_text("utf-8")
    assert front(first) == {"library_name": "anysize", "tags": ["matryoshka", "anysize", "mrl"]}
    assert "A nested (Matryoshka) model: dims=4,8." in first
    assert "| learnt from | `v` |" in first
    assert anysize("measure", "m", "v.npy").status == 0
    before, yet, after = first.partition("\n\n<!--")[0].partition(
        " Not measured yet: `anysize measure m DATA` puts its figures here."
    )
    assert yet
    assert before + after in file.read_text("utf-8")
    assert "| dims=4 | 16 | 0." in file.read_text("utf-8")
    assert load("m").nesting.full == Size(dims=8)
    assert anysize(*fit).status == 0  # a card of ours is replaced with its model
    file.write_text("# Mine\n")
    assert anysize("measure", "m", "v.npy").status == 0
    assert file.read_text() == "# Mine\n"


def test_a_card_that_somebody_changed_stands_by_the_new_model(anysize, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", spread_vectors(64))
    fit, cut = ("fit", "v.npy", "--out", "m", "--epochs", "1", "--dims"), ("cut", "m", "--out", "c", "--size")
    for words, size, other in ((fit, "4,8", "2,8"), (cut, "2", "8")):
        assert anysize(*words, size).status == 0
        folder = tmp_path / words[words.index("--out") + 1]
        (folder / README).write_text("# Mine\n")
        before = load(folder).nesting
        said = anysize(*words, other)
        assert said.status == 0
        assert f"{folder.name}/README.md was changed since anysize wrote it, so it is kept as it is" in said.err
        assert load(folder).nesting != before
        assert (folder / README).read_text() == "# Mine\n"
        load(folder).save(folder)
        assert (folder / README).read_text() == "# Mine\n"


@pytest.mark.parametrize("words", [("fit", "v.npy", "--out", "n", "--epochs", "1"), ("cut", "m", "--out", "n")])
def test_a_card_and_its_model_appear_in_one_step(anysize, tmp_path, monkeypatch, words):
    """Whenever a name in the working folder changes, the model is not there, or has its card."""
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", spread_vectors(64))
    assert anysize("fit", "v.npy", "--out", "m", "--dims", "4,8", "--epochs", "1").status == 0
    stood = []
    replace = os.replace

    def watched(source, target):
        replace(source, target)
        if (tmp_path / "n").exists():
            stood.append((tmp_path / "n" / README).is_file())

    monkeypatch.setattr(os, "replace", watched)
    assert anysize(*words, *(["--size", "4"] if words[0] == "cut" else ["--dims", "4,8"])).status == 0
    assert stood
    assert all(stood)


def test_a_card_is_ours_until_a_letter_changes(tmp_path):
    assert theirs(tmp_path) is theirs(tmp_path / "nowhere") is None
    text = cut_card("small", SIZE, AS, {}).decode()
    file = tmp_path / README
    file.write_text(text, "utf-8")
    assert theirs(tmp_path) is None
    for changed in (text.replace("small", "smell", 1), text + "\n", text.partition("<!--")[0], ""):
        file.write_text(changed, "utf-8")
        assert theirs(tmp_path) == file
