"""What is dropped, read otherwise or not to be trusted is told by every verb that reads data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anysize.core.data.read import read
from anysize.core.verbs.fit import fit
from anysize.text.embedder.fit import training_features
from anysize.text.embedder.method import MRL
from tests.conftest import sentences, spread_vectors


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = spread_vectors(64)
    rows[5] = rows[4]
    np.save("v.npy", rows)
    fit("v.npy", method=MRL(dims=(4, 8), epochs=1, batch_size=64), out="m")
    return tmp_path


NOTE = "1 of 64 rows repeat an earlier one and are kept"
VERBS = {
    "fit": ["fit", "v.npy", "--dims", "4,8", "--epochs", "1", "--batch-size", "64", "--out", "n"],
    "measure": ["measure", "m", "v.npy", "--arms", "truncate"],
    "index": ["index", "m", "v.npy", "--out", "i"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_tells_the_notes_on_its_data(anysize, verb):
    said = anysize(*VERBS[verb], "--json")
    assert said.status == 0, said.err
    assert f"note: {NOTE}\n" in said.err
    assert NOTE in said.json["notes"]


def test_info_and_choose_tell_them_too(anysize):
    assert anysize("info", "v.npy", "--json").json["notes"] == [NOTE]
    assert NOTE in anysize("info", "v.npy").out
    assert anysize("measure", "m", "v.npy").status == 0
    said = anysize("choose", "m", "--within", "50%", "--json")
    assert NOTE in said.json["notes"]
    assert f"note: {NOTE}\n" in said.err
    first = said.json["notes"][0]
    assert first.startswith("dims=")
    assert "95 % interval" in first
    assert anysize("choose", "m", "--max-bytes", "16").out == "dims=4\n"


def test_measure_tells_what_the_figures_are_worth(anysize):
    said = anysize("measure", "m", "v.npy")
    assert "note: these are the items that the model learnt from, without labels; none are held out\n" in said.err
    np.save("w.npy", spread_vectors(84)[20:])
    said = anysize("measure", "m", "w.npy")
    assert "of 64 items measured are among those that the model learnt from, of v: the figures flatter it" in said.err
    np.save("few.npy", spread_vectors(30, seed=3))
    said = anysize("measure", "m", "few.npy")
    assert "only 30 items: fewer than 50 tell little" in said.err
    assert "±" in said.out
    assert "half of the 95 % interval over 30 items" in said.out


def test_negatives_of_the_miner_are_learnt_from(encoder_path, here):
    """As sentence-transformers' mine_hard_negatives writes them: anchor, positive, negative_1, ..."""
    a, p, n = (sentences(40, seed=seed) for seed in range(3))
    rows = [
        {"anchor": one, "positive": two, "negative_1": three, "negative_2": three[::-1]}
        for one, two, three in zip(a, p, n, strict=True)
    ]
    (here / "mined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "plain.jsonl").write_text(
        "".join(json.dumps({key: row[key] for key in ("anchor", "positive")}) + "\n" for row in rows)
    )
    method = MRL(model=str(encoder_path), dims=(8,), epochs=3, batch_size=16, keep=0.0)
    mined = read("mined.jsonl")
    assert [len(mined.pairs[name]) for name in mined.pairs.negatives] == [40, 40]
    columns = training_features(method, mined)
    assert list(columns) == ["anchor", "positive", "negative", "negative_2"]
    with_them, without = (method.fit(read(name)).about["losses"][0]["loss"] for name in ("mined.jsonl", "plain.jsonl"))
    assert with_them > without + 0.3  # three documents for each anchor to be told from, not one


def beir(folder):
    """Questions that are documents themselves, one judgement of a document that is gone."""
    texts = sentences(30)
    corpus = [{"_id": f"d{row}", "text": text} for row, text in enumerate(texts)]
    queries = [{"_id": f"d{row}", "text": texts[row]} for row in range(10)]
    judged = "".join(f"d{row}\td{row + 10}\t1\n" for row in range(10)) + "d0\tgone\t2\n"
    folder.mkdir()
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


def test_measure_names_the_rule_for_queries_that_are_documents(anysize, encoder_path, here):
    from anysize.backbones.sentence import Encoder
    from anysize.core.sizes.nesting import Nesting
    from anysize.text.embedder.model import Embedder

    encoder = Encoder(str(encoder_path))
    model = Embedder(Nesting(dims=(32,)), 32, encoder=encoder)
    model.about = {"options": {"model": str(encoder_path)}}
    model.save(here / "e")
    command = ["measure", "e", beir(here / "b"), "--arms", "original", "--json"]
    found = {rule: anysize(*command, "--identical", rule) for rule in ("drop", "ids", "keep")}
    scores = {rule: said.json["records"][0]["metrics"]["mrr@10"] for rule, said in found.items()}
    assert scores["drop"] == scores["ids"] > scores["keep"]
    assert {rule: said.json["meta"]["identical"] for rule, said in found.items()} == {rule: rule for rule in found}
    assert "10 of 10 queries are documents themselves and were left out of their own rankings" in found["drop"].err
    assert "as BEIR does (--identical ids)" in found["ids"].err
    assert "themselves" not in found["keep"].err
    assert all("1 of 11 judgements in qrels.tsv name a document that is not in the corpus" in one.err
               for one in found.values())  # fmt: skip
    assert anysize(*command, "--identical", "some").status == 2
