from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from anysize.core.verbs.load import load
from anysize.text.embedder.model import Embedder
from tests.conftest import WIDTH, spread_vectors, tree, write_pairs
from tests.core.verbs.test_fit import at_step


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", spread_vectors(64))
    write_pairs(tmp_path / "p.jsonl", 40)
    (tmp_path / "t.csv").write_text("text\n" + "".join(f"balan demer {row}\n" for row in range(12)), "utf-8")
    return tmp_path


def test_fit_writes_a_model_and_says_the_next_command(anysize):
    said = anysize("fit", "v.npy", "--out", "m", "--dims", "4,8", "--epochs", "1", "--seed", "5")
    assert said.status == 0, said.err
    assert "learnt from 64 vectors" in said.out
    assert "anysize measure m DATA" in said.out
    model = load("m")
    assert model.nesting.values("dims") == (4, 8)
    assert model.about["options"]["seed"] == 5


def test_fit_prints_json_and_nothing_else(anysize, encoder_path):
    said = anysize("fit", "p.jsonl", "--out", "m", "--model", encoder_path, "--dims", "4,8", "--epochs", "1", "--json")
    assert said.status == 0, said.err
    assert said.json["out"] == "m"
    assert [size["dims"] for size in said.json["nesting"]["sizes"]] == [4, 8]
    assert said.json["about"]["learnt_from"] == "pairs"


def test_a_name_of_the_method_s_option_stands_beside_the_verb_s_own(anysize):
    said = anysize("fit", "v.npy", "--method=mrl", "--out=m", "--batch-size=16", "--epochs=0.5", "--dims=4")
    assert said.status == 0, said.err
    assert load("m").about["options"]["batch_size"] == 16


def write(name: str, content: bytes) -> None:
    with open(name, "wb") as file:
        file.write(content)


def altered_array(change) -> None:
    rows = spread_vectors(64)
    change(rows)
    np.save("bad.npy", rows)


def set_value(value):
    def change(rows):
        rows[13, 2] = value

    return change


def ragged() -> None:
    np.save("bad.npy", np.array([[1.0, 2.0], [1.0]], dtype=object), allow_pickle=True)


def cut_short() -> None:
    np.save("bad.npy", spread_vectors(64))
    with open("bad.npy", "r+b") as file:
        file.truncate(500)


def rows(*lines: dict) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


MODEL = ["--model", "ENCODER"]
BAD = {
    "missing": (None, ["bad.npy"], ["bad.npy", "does not exist"]),
    "empty-file": (lambda: write("bad.jsonl", b""), ["bad.jsonl", *MODEL], ["bad.jsonl is empty"]),
    "no-rows": (lambda: write("bad.csv", b"anchor,positive\n"), ["bad.csv", *MODEL], ["bad.csv is empty"]),
    "unknown-columns": (
        lambda: write("bad.csv", b"enquiry,reply\na,b\n"),
        ["bad.csv", *MODEL],
        ["enquiry, reply", "anchor, positive"],
    ),
    "not-utf8": (lambda: write("bad.csv", b"text\ncaf\xe9\n"), ["bad.csv", *MODEL], ["line 2", "not UTF-8"]),
    "not-json": (lambda: write("bad.jsonl", b'{"text": "a"}\n{"text": \n'), ["bad.jsonl", *MODEL], ["line 2"]),
    "empty-anchor": (
        lambda: write("bad.jsonl", rows({"anchor": "a", "positive": "b"}, {"anchor": " ", "positive": "c"})),
        ["bad.jsonl", *MODEL],
        ["line 2", "anchor is empty"],
    ),
    "ids-twice": (
        lambda: write("bad.jsonl", rows({"_id": "1", "text": "b"}, {"_id": "1", "text": "c"})),
        ["bad.jsonl", *MODEL],
        ["line 2", "'1'"],
    ),
    "nan": (lambda: altered_array(set_value(np.nan)), ["bad.npy"], ["row 13", "NaN or an infinite"]),
    "infinite": (lambda: altered_array(set_value(np.inf)), ["bad.npy"], ["row 13", "NaN or an infinite"]),
    "ragged-npy": (ragged, ["bad.npy"], ["differing width"]),
    "ragged-rows": (
        lambda: write("bad.jsonl", rows({"vector": [1.0, 2.0]}, {"vector": [1.0]})),
        ["bad.jsonl"],
        ["line 2", "expected 2"],
    ),
    "one-row-long": (lambda: np.save("bad.npy", np.ones(7, np.float32)), ["bad.npy"], ["(7,)", "(n, d)"]),
    "cut-short": (cut_short, ["bad.npy"], ["bad.npy"]),
    "no-safetensors": (lambda: write("bad.safetensors", b"\x08"), ["bad.safetensors"], ["bad.safetensors"]),
    "unknown-suffix": (lambda: write("bad.docx", b"x"), ["bad.docx"], ["bad.docx", ".jsonl"]),
    "too-few": (lambda: np.save("bad.npy", spread_vectors(5)), ["bad.npy"], ["5 rows are too few"]),
    "not-increasing": (None, ["v.npy", "--dims", "8,4"], ["increasing: 4 comes after 8"]),
    "not-increasing-texts": (None, ["t.csv", *MODEL, "--dims", "8,8"], ["increasing: 8 comes after 8"]),
    "zero-dims": (None, ["v.npy", "--dims", "0,8"], ["0"]),
    "no-dims": (None, ["v.npy", "--dims", ","], ["lists no sizes"]),
    "exceeds": (None, ["v.npy", "--dims", f"8,{WIDTH + 1}"], ["dims=33 exceeds", "32"]),
    "exceeds-the-encoder": (None, ["t.csv", *MODEL, "--dims", "8,64"], ["dims=64 exceeds", "32"]),
    "exceeds-tuned": (None, ["p.jsonl", *MODEL, "--tune", "full", "--dims", "8,64"], ["dims=64 exceeds"]),
    "no-model-named": (None, ["t.csv"], ["--model"]),
    "model-for-vectors": (None, ["v.npy", *MODEL], ["leave out the model"]),
    "no-such-model": (None, ["t.csv", "--model", "./nowhere"], ["nowhere", "does not exist"]),
    "tune-vectors": (None, ["v.npy", "--tune", "full"], ["--tune head"]),
    "tune-texts": (None, ["t.csv", *MODEL, "--tune", "full"], ["no pairs", "--tune head"]),
    "epochs": (None, ["v.npy", "--epochs", "0"], ["epochs must be above zero"]),
    "method": (None, ["v.npy", "--method", "magic"], ["'magic'", "mrl"]),
    "nothing-to-resume": (None, ["v.npy", "--resume"], ["no unfinished run"]),
    "no-beir": (lambda: None, ["."], ["corpus.jsonl"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_all_as_it_was(case, anysize, here, encoder_path):
    make, words, says = BAD[case]
    if make:
        make()
    before = tree(here)
    anysize("fit", "--out", "m", *(encoder_path if word == "ENCODER" else word for word in words)).refused(*says)
    assert tree(here) == before
    assert not (here / "m.partial").exists()


def test_a_refused_fit_leaves_the_old_model(anysize, here):
    assert anysize("fit", "v.npy", "--out", "m", "--dims", "4", "--epochs", "1").status == 0
    before = tree(here)
    anysize("fit", "v.npy", "--out", "m", "--dims", "4,99").refused("exceeds")
    assert tree(here) == before


def test_a_folder_that_is_not_ours_is_not_replaced(anysize, here):
    (here / "m").mkdir()
    (here / "m" / "notes.txt").write_text("mine")
    before = tree(here)
    anysize("fit", "v.npy", "--out", "m", "--epochs", "1").refused("not ours to replace")
    assert tree(here) == before


def test_ctrl_c_leaves_the_old_model_and_resume_continues(anysize, here, monkeypatch):
    words = ("fit", "v.npy", "--out", "m", "--dims", "4,8", "--epochs", "8", "--batch-size", "32")
    assert anysize("fit", "v.npy", "--out", "m", "--dims", "4", "--epochs", "1").status == 0
    before = tree(here / "m")
    at_step(9, lambda: signal.raise_signal(signal.SIGINT), monkeypatch.setattr)
    said = anysize(*words)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert said.status == 130
    assert said.err == "anysize: interrupted; what was there before is unchanged\n"
    assert tree(here / "m") == before
    anysize(*words).refused("--resume")
    anysize(*words, "--seed", "1", "--resume").refused("different options seed")
    assert anysize(*words, "--resume").status == 0
    assert load("m").nesting.values("dims") == (4, 8)
    assert not (here / "m.partial").exists()


def test_a_full_disk_leaves_the_old_model(anysize, here, monkeypatch):
    assert anysize("fit", "v.npy", "--out", "m", "--dims", "4", "--epochs", "1").status == 0
    before = tree(here / "m")

    def full(self, directory):
        (directory / "half").write_bytes(b"x")
        raise OSError(28, "No space left on device", str(directory / "half"))

    monkeypatch.setattr(Embedder, "save_parts", full)
    said = anysize("fit", "v.npy", "--out", "m", "--dims", "8", "--epochs", "1")
    assert said.status == 1
    assert said.err.startswith("anysize: the disk is full")
    assert tree(here / "m") == before
    assert not list(here.glob(".*.tmp"))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert anysize("fit", "v.npy", "--out", "m", "--dims", "8", "--epochs", "1", "--resume").status == 0
    assert load("m").nesting.values("dims") == (8,)


def test_a_method_that_tells_nothing_of_its_rows_ends_as_any_other(anysize, monkeypatch):
    rows = [{"text": f"balan demer {row}", "label": "ab"[row % 2]} for row in range(12)]
    write("labelled.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    assert anysize("fit", "v.npy", "--out", "m", "--dims", "4,8", "--epochs", "1").status == 0
    np.save("labelled.npy", spread_vectors(12))
    monkeypatch.setattr(Embedder, "encode", lambda self, texts: spread_vectors(len(texts)))
    said = anysize("fit", "labelled.jsonl", "--method", "mrl-classifier", "--model", "m", "--dims", "4,8", "--out", "c")
    assert (said.status, said.err) == (0, "")
    assert "learnt from 12 labelled texts" in said.out
