"""The recipes of 2DMSE and Starbucks, from the data to the model that is cut, in a tiny setting."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import anysize as az
from recipes import starbucks, two_dmse
from tests.conftest import sentences


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rows = [
        {"premise": premise, "hypothesis": hypothesis, "label": label}
        for premise, same, other in zip(sentences(40), sentences(40, 1), sentences(40, 2), strict=True)
        for hypothesis, label in ((f"{premise.rpartition(' ')[0]} {same.split()[0]}", "entailment"),
                                  (other, "contradiction"))
    ]  # fmt: skip
    (root / "snli_devtest").mkdir()
    for part, half in (("train", rows[:40]), ("eval", rows[40:])):
        packed = gzip.compress("".join(json.dumps(row) + "\n" for row in half).encode())
        (root / "snli_devtest" / f"{part}.jsonl.gz").write_bytes(packed)
    (root / "stsb").mkdir()
    scored = [(place % 6, one, " ".join([*one.split()[: place % 6], other])) for place, (one, other) in
              enumerate(zip(sentences(30, 3), sentences(30, 4), strict=True))]  # fmt: skip
    lines = ["score\tsentence1\tsentence2", *("\t".join(map(str, row)) for row in scored)]
    (root / "stsb" / "test.tsv").write_text("\n".join(lines) + "\n")
    (root / "multi30k").mkdir()
    captions = [{"image": str(place), "captions": sentences(5, place)} for place in range(40)]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in captions).encode())
    (root / "multi30k" / "captions_en5_train.jsonl.gz").write_bytes(packed)
    return root


def loads_without_anysize(place: Path, layers: int, dims: int) -> bool:
    from sentence_transformers import SentenceTransformer

    cut = SentenceTransformer(str(place), device="cpu")
    return (cut[0].auto_model.config.num_hidden_layers, cut.encode(sentences(2)).shape) == (layers, (2, dims))


def test_the_2dmse_recipe_fits_measures_chooses_and_cuts(folder, encoder_path, tmp_path, capsys):
    words = ["--data", str(folder), "--out", str(tmp_path), "--model", str(encoder_path), "--layers", "1,2"]
    two_dmse.main([*words, "--dims", "8,32", "--steps", "3", "--batch-size", "8", "--within", "0.99"])
    said = capsys.readouterr().out
    model = az.load(tmp_path / "model")
    assert (model.nesting.axes, len(model.nesting), model.about["learnt_from"]) == (("layers", "dims"), 4, "triplets")
    assert (tmp_path / "grid.png").stat().st_size > 10_000
    assert "layers=1,dims=8 loses at most 99%" in said
    assert "truncate" in said
    assert loads_without_anysize(tmp_path / "cut", 1, 8)


def test_the_starbucks_recipe_pretrains_tunes_and_cuts(folder, tmp_path, capsys):
    words = ["--data", str(folder), "--out", str(tmp_path), "--steps", "2", "--tuning-steps", "2"]
    starbucks.main([*words, "--sizes", "tiny=1:16,whole=2:128"])
    said = capsys.readouterr().out
    assert "layers=1,dims=16 mlm" in said
    model = az.load(tmp_path / "model")
    assert model.nesting.names == ("tiny", "whole")
    assert model.encoder.depth == 2
    assert json.loads((tmp_path / "smae" / "pretraining.json").read_text())["from_scratch"] is True
    assert loads_without_anysize(tmp_path / "cut", 1, 16)
