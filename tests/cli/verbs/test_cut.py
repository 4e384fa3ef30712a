from __future__ import annotations

import numpy as np
import pytest
import torch

from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.record import Record
from anysize.core.model.checkpoint import WEIGHTS
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.load import load
from anysize.text.embedder.model import Embedder
from tests.conftest import WIDTH, sentences, spread_vectors, tree

WEIGHT = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Embedder(Nesting(dims=(4, 8, 16)), WIDTH, weight=WEIGHT).save("vectors")
    return tmp_path


def test_a_text_model_is_cut_to_an_ordinary_sentence_transformer(anysize, encoder, here):
    from sentence_transformers import SentenceTransformer

    model = Embedder(Nesting(dims=(4, 8, 16)), WIDTH, encoder=encoder, weight=WEIGHT)
    model.save("texts")
    said = anysize("cut", "texts", "--size", "dims=8", "--out", "small", "--json")
    assert said.status == 0, said.err
    written = sum(map(len, tree(here / "small").values()))
    told = {"out": "small", "size": {"dims": 8}, "format": "sentence-transformers", "bytes": written}
    assert {name: said.json[name] for name in (*told, "checks", "notes")} == {**told, "checks": [], "notes": []}
    before, after = said.json["before"], said.json["after"]
    assert before["bytes"] == sum(map(len, tree(here / "texts").values()))
    assert (after["bytes"], after["table"]) == (written, before["table"])
    base = sum(weight.numel() for weight in encoder.model.parameters())
    assert (before["parameters"], after["parameters"]) == (base + 16 * WIDTH, base + 8 * WIDTH)
    assert said.err == ""
    small = SentenceTransformer("small", device="cpu")
    texts = sentences(5)
    np.testing.assert_allclose(small.encode(texts), model.at(dims=8).encode(texts), atol=1e-5)
    again = anysize("cut", "texts", "--size", "dims=4", "--out", "small")
    assert 'SentenceTransformer("small")' in again.out
    assert "Its vectors are smaller, its encoder is not (0.1 MB)" in again.out
    assert f"smaller: parameters {before['parameters']:,} -> {base + 4 * WIDTH:,}" in again.out
    assert "as large as before: the table of tokens, 26.2 kB of the" in again.out
    assert all(f"--method {name}" in again.out for name in ("starbucks", "matquant"))
    assert SentenceTransformer("small", device="cpu").encode(texts).shape == (5, 4)


def test_a_cut_has_a_card_which_is_replaced_until_somebody_changes_it(anysize, here):
    yaml = pytest.importorskip("yaml")
    records = [Record(Size(dims=dims), "nested", {"ndcg@10": dims / 99}, 4 * dims) for dims in (4, 8, 16)]
    Frontier(tuple(records), "ndcg@10", {"data": "docs"}).to_json("vectors/frontier.json")
    assert anysize("cut", "vectors", "--size", "dims=8", "--out", "small").status == 0
    _, front, body = (here / "small" / "README.md").read_text("utf-8").split("---\n", 2)
    assert yaml.safe_load(front) == {"library_name": "anysize", "tags": ["matryoshka", "anysize"]}
    assert "| **dims=8** | 32 | 0.0808 |" in body
    assert "| dims=16 | 64 | 0.1616 |" in body
    assert 'anysize.load("small")' in body
    assert load("small").nesting.full == Size(dims=8)
    assert anysize("cut", "vectors", "--size", "dims=4", "--out", "small").status == 0
    card = here / "small" / "README.md"
    assert "**dims=4**" in card.read_text("utf-8")
    card.write_text(card.read_text("utf-8").replace("# small", "# My model"), "utf-8")
    changed = card.read_bytes()
    said = anysize("cut", "vectors", "--size", "dims=8", "--out", "small")
    assert "small/README.md was changed since anysize wrote it, so it is kept as it is" in said.err
    assert (load("small").nesting.full, card.read_bytes()) == (Size(dims=8), changed)
    card.unlink()
    assert anysize("cut", "vectors", "--size", "dims=8", "--out", "small").status == 0
    assert "# small" in card.read_text("utf-8")


def test_a_users_own_model_is_not_replaced(anysize, encoder, here):
    """Other programs' files mark nothing: a cut replaces a cut, and no model that someone trained."""
    Embedder(Nesting(dims=(4, 8, 16)), WIDTH, encoder=encoder, weight=WEIGHT).save("texts")
    encoder.model.save("mine")
    before = tree(here)
    anysize("cut", "texts", "--size", "dims=8", "--out", "mine").refused(
        "mine exists and holds no anysize-export.json, so it is not ours to replace; name another place or delete it"
    )
    assert tree(here) == before


def test_a_vector_model_is_cut_to_a_smaller_one(anysize):
    vectors = spread_vectors(5)
    said = anysize("cut", "vectors", "--size", "8", "--out", "small")
    assert said.status == 0, said.err
    first, second = said.out.splitlines()
    assert first == 'small: dims=8 as an anysize model; load it with anysize.load("small")'
    assert second.startswith("smaller: parameters 512 -> 256, files ")
    np.testing.assert_allclose(load("small").encode(vectors), load("vectors", dims=8).encode(vectors), atol=1e-6)


def test_a_cut_reads_only_its_size(anysize, here):
    """Damage beyond the size that is cut out goes unread; within it, it is found."""
    path = here / "vectors" / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last block: rows 8 to 16
    path.write_bytes(content)
    assert anysize("cut", "vectors", "--size", "dims=8", "--out", "small").status == 0
    anysize("cut", "vectors", "--size", "dims=16", "--out", "large").refused("checksum")
    assert not (here / "large").exists()


BAD = {
    "untrained": (["vectors", "--size", "dims=5"], ["trained for dims 4, 8, 16; 5 lies between 4 and 8"]),
    "too-large": (["vectors", "--size", "dims=64"], ["64 is larger"]),
    "no-such-axis": (["vectors", "--size", "layers=2"], ["'layers'", "dims"]),
    "no-name": (["vectors", "--size", "wide"], ["no size is called 'wide'", "dims=64"]),
    "no-size": (["vectors", "--size", "4:8"], ["'4:8'", "64 or dims=64"]),
    "decimal-size": (["vectors", "--size", "dims=0.5"], ["'dims=0.5'", "write 1/2"]),
    "empty-size": (["vectors", "--size", ""], ["dims=64"]),
    "zero": (["vectors", "--size", "dims=0"], ["0"]),
    "no-model": (["nowhere", "--size", "dims=4"], ["nowhere does not exist"]),
    "not-ours": (["vectors", "--size", "dims=4", "--out", "mine"], ["not ours to replace"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_all_as_it_was(case, anysize, here):
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("mine")
    words, says = BAD[case]
    before = tree(here)
    anysize("cut", *words, *([] if "--out" in words else ["--out", "small"])).refused(*says)
    assert tree(here) == before
