from __future__ import annotations

import json

import numpy as np
import pytest

from anysize.core.frontier.frontier import Frontier
from anysize.core.model.checkpoint import WEIGHTS
from anysize.core.model.manifest import MANIFEST
from anysize.text.embedder.method import MRL
from tests.conftest import spread_vectors, tree


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    from anysize.core.verbs.fit import fit

    monkeypatch.chdir(tmp_path)
    np.save("v.npy", spread_vectors(64))
    fit("v.npy", method=MRL(dims=(4, 8), epochs=1, batch_size=64), out="m")
    return tmp_path


def test_measure_prints_the_table_and_leaves_the_frontier_for_choose(anysize, here):
    said = anysize("measure", "m", "v.npy")
    assert said.status == 0, said.err
    assert "neighbours@10" in said.out
    assert "anysize choose m --within 1%" in said.out
    assert Frontier.from_json("m/frontier.json").arms == ("nested", "truncate", "pca", "original")
    chosen = anysize("choose", "m", "--max-bytes", "16", "--json")
    assert chosen.json["size"] == {"dims": 4}


def test_measure_prints_json_and_nothing_else(anysize):
    said = anysize("measure", "m", "v.npy", "--sizes", "8", "--arms", "truncate", "--json")
    assert said.status == 0, said.err
    assert [(record["arm"], record["size"]) for record in said.json["records"]] == [
        ("nested", {"dims": 8}),
        ("truncate", {"dims": 8}),
        ("original", {"dims": 32}),
    ]
    record = said.json["records"][0]
    assert record["bytes"] == 32
    assert record["ms"] > 0
    assert 0 <= record["metrics"]["neighbours@10"] <= 1


@pytest.mark.parametrize("words", [["--json", "f.json"], ["--json=f.json"]])
def test_measure_writes_json_to_a_file(anysize, here, words):
    said = anysize("measure", "m", "v.npy", *words, "--html", "f.html", "--png", "f.png")
    assert said.status == 0, said.err
    assert json.loads((here / "f.json").read_text()) == json.loads((here / "m" / "frontier.json").read_text())
    assert "wrote f.json" in said.out
    assert (here / "f.html").read_text("utf-8").startswith("<!doctype html>".upper()[:2])
    assert (here / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_size_twin_can_be_measured(anysize):
    said = anysize("measure", "m", "v.npy", "--sizes", "4", "--arms", "single", "--json")
    assert [record["arm"] for record in said.json["records"]] == ["nested", "single", "original"]


def test_options_of_an_evaluator_stand_beside_those_of_the_verb(anysize):
    said = anysize(
        "measure", "m", "v.npy", "--by", "neighbours", "--k", "5", "--sample", "20", "--arms", "pca", "--json"
    )
    assert said.json["metric"] == "neighbours@5"
    assert said.json["meta"]["task"] == "the 5 nearest neighbours of 20 items among 64, kept at each size"
    assert "--sample" in anysize("measure", "--by", "neighbours", "--help").out
    assert "--sample" not in anysize("measure", "--help").out
    anysize("measure", "m", "v.npy", "--k", "5").refused("no option --k")
    anysize("measure", "m", "v.npy", "--by", "neighbours", "--k", "0").refused("k must be above zero; got 0")
    anysize("measure", "m", "v.npy", "--by", "neighbour").refused("did you mean neighbours?")
    anysize("measure", "m", "v.npy", "--by", "list").refused("expected one of retrieval, similarity, neighbours")
    anysize("measure", "m", "v.npy", "--arms", "list").refused("truncate (usual), pca (usual), single, original")


def truncate(here) -> None:
    path = here / "m" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-7])


def alter(here) -> None:
    path = here / "m" / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def break_manifest(here) -> None:
    path = here / "m" / MANIFEST
    path.write_text(path.read_text()[:40])


BAD = {
    "no-such-model": (None, ["nowhere", "v.npy"], ["nowhere does not exist"]),
    "not-a-model": (None, ["v.npy", "v.npy"], ["v.npy", "anysize model"]),
    "no-such-data": (None, ["m", "w.npy"], ["w.npy does not exist"]),
    "weights-cut-short": (truncate, ["m", "v.npy"], [WEIGHTS]),
    "weights-altered": (alter, ["m", "v.npy"], [WEIGHTS, "checksum"]),
    "weights-missing": (lambda here: (here / "m" / WEIGHTS).unlink(), ["m", "v.npy"], [WEIGHTS, "missing"]),
    "manifest-cut-short": (break_manifest, ["m", "v.npy"], [MANIFEST, "damaged"]),
    "untrained-size": (None, ["m", "v.npy", "--sizes", "4,6"], ["trained for dims 4, 8; 6 lies between 4 and 8"]),
    "unknown-arm": (None, ["m", "v.npy", "--arms", "best"], ["'best'", "truncate (usual), pca (usual), single"]),
    "other-width": (lambda here: np.save("w.npy", np.ones((20, 5), "f")), ["m", "w.npy"], ["(n, 32)", "(20, 5)"]),
    "too-little": (lambda here: np.save("w.npy", spread_vectors(5)), ["m", "w.npy"], ["nothing to measure"]),
    "texts-for-vectors": (
        lambda here: (here / "t.csv").write_text("text\n" + "".join(f"a {row}\n" for row in range(20))),
        ["m", "t.csv"],
        ["vectors, not texts"],
    ),
    "single-on-other-data": (
        lambda here: np.save("w.npy", spread_vectors(64, seed=1)),
        ["m", "w.npy", "--arms", "single"],
        ["fitted on"],
    ),
    "no-folder": (None, ["m", "v.npy", "--json", "no/f.json"], ["no/f.json", "does not exist"]),
    "no-folder-html": (None, ["m", "v.npy", "--html", "no/f.html"], ["no/f.html", "does not exist"]),
    "folder": (None, ["m", "v.npy", "--json", "m"], ["m", "folder"]),
    "within": (None, ["m", "v.npy", "--within", "much"], ["much"]),
    "png-suffix": (None, ["m", "v.npy", "--png", "f.xyz"], ["f.xyz"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_all_as_it_was(case, anysize, here):
    make, words, says = BAD[case]
    if make:
        make(here)
    before = tree(here)
    anysize("measure", *words).refused(*says)
    assert tree(here) == before
