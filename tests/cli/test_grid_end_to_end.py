"""Every verb on a model of two axes, as a user types it."""

import json

import numpy as np
import pytest

import anysize as az
from tests.conftest import sentences, write_pairs


@pytest.fixture(scope="module")
def made(encoder_path, tmp_path_factory):
    from anysize.cli.main import run

    folder = tmp_path_factory.mktemp("layers")
    pairs = write_pairs(folder / "pairs.jsonl", count=80)
    fit = ["fit", pairs, "--method", "starbucks", "--model", encoder_path, "--batch-size", "8", "--out"]
    assert run([str(word) for word in (*fit, folder / "menu", "--sizes", "small=1:8,tall=2:32")]) == 0
    assert run([str(word) for word in (*fit, folder / "grid", "--layers", "1,2", "--dims", "8,32")]) == 0
    return folder


def test_measure_fills_the_grid_and_draws_it(made, anysize):
    said = anysize("measure", made / "grid", made / "pairs.jsonl", "--png", made / "grid.png", "--html",
                   made / "grid.html", "--json", made / "grid.json")  # fmt: skip
    assert said.status == 0, said
    records = json.loads((made / "grid.json").read_text())["records"]
    counted = {arm: sum(one["arm"] == arm for one in records) for arm in ("nested", "truncate", "pca", "original")}
    assert counted == {"nested": 4, "truncate": 4, "pca": 4, "original": 1}
    for record in records:
        if record["arm"] == "original":
            assert record["size"] == {"layers": 2, "dims": 32}
        assert record["ms"] > 0
    assert (made / "grid.png").exists()
    assert 'class="cells"' in (made / "grid.html").read_text()


def test_measure_takes_some_sizes(made, anysize):
    one, two = ["layers=1,dims=8"], ["layers=1,dims=32", "layers=2,dims=32"]
    for sizes, expected in (("1:8", one), ("layers=1,dims=8", one), ("1:32,layers=2", two)):
        said = anysize("measure", made / "grid", made / "pairs.jsonl", "--arms", "truncate", "--json", "--sizes", sizes)
        assert said.status == 0, said
        nested = [az.Size(record["size"]) for record in said.json["records"] if record["arm"] == "nested"]
        assert list(map(str, nested)) == expected
    said = anysize("measure", made / "menu", made / "pairs.jsonl", "--sizes", "small", "--json")
    assert {tuple(record["size"].items()) for record in said.json["records"] if record["arm"] == "nested"} == {
        (("layers", 1), ("dims", 8))
    }
    anysize("measure", made / "menu", made / "pairs.jsonl", "--sizes", "huge").refused("huge")
    anysize("measure", made / "grid", made / "pairs.jsonl", "--sizes", "1:16").refused("8, 32")
    anysize("measure", made / "grid", made / "pairs.jsonl", "--sizes", "2:9").refused("8, 32")


def test_choose_takes_time_and_bytes_together(made, anysize):
    anysize("measure", made / "grid", made / "pairs.jsonl", "--arms", "truncate")
    said = anysize("choose", made / "grid", "--max-ms", "10000", "--max-bytes", "32", "--json")
    assert said.json["size"]["dims"] == 8
    assert said.json["bytes"] <= 32
    anysize("choose", made / "grid", "--max-ms", "0.000001", "--max-bytes", "32").refused("ms per query")


def test_cut_by_size_or_name_loads_without_anysize(made, anysize):
    from sentence_transformers import SentenceTransformer

    for size, folder in (("small", "named"), ("layers=1,dims=8", "typed")):
        said = anysize("cut", made / "menu", "--size", size, "--out", made / folder)
        assert said.status == 0, said
        assert "layers=1,dims=8 as a sentence-transformers model" in said.out
        cut = SentenceTransformer(str(made / folder), device="cpu").encode(sentences(4))
        np.testing.assert_allclose(cut, az.load(made / "menu").at("small").encode(sentences(4)), atol=1e-5)
    anysize("cut", made / "menu", "--size", "layers=2,dims=8", "--out", made / "none").refused("is not one of them")
    anysize("cut", made / "menu", "--size", "layers=3", "--out", made / "none").refused("layers 1, 2")
    assert not (made / "none").exists()


def test_an_index_holds_the_vectors_of_one_cell(made, anysize):
    said = anysize("index", made / "grid", made / "pairs.jsonl", "--size", "layers=1,dims=32", "--out", made / "idx")
    assert said.status == 0, said
    index = az.Index.open(made / "idx")
    assert index.nesting == az.Nesting(dims=(8, 32))
    text = az.read(made / "pairs.jsonl").texts[5]
    found = anysize("search", made / "idx", text, "-k", "1", "--json").json
    assert found["hits"][0]["text"] == text
    assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-5)
    menu = az.Index.build(made / "menu-idx", az.load(made / "menu"), sentences(20))
    assert menu.nesting == az.Nesting(dims=(32,)), "8 dims were trained at one layer, not at two"


def test_info_says_both_axes(made, anysize):
    said = anysize("info", made / "menu")
    assert said.status == 0, said
    for word in ("layers", "small", "tall"):
        assert word in said.out
