from __future__ import annotations

import numpy as np
import pytest
import torch

from anysize.core.model.checkpoint import WEIGHTS
from anysize.core.sizes.nesting import Nesting
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
    assert said.json == {**told, "checks": [], "notes": []}
    assert said.err == ""
    small = SentenceTransformer("small", device="cpu")
    texts = sentences(5)
    np.testing.assert_allclose(small.encode(texts), model.at(dims=8).encode(texts), atol=1e-5)
    again = anysize("cut", "texts", "--size", "dims=4", "--out", "small")
    assert 'SentenceTransformer("small")' in again.out
    assert "Its vectors are smaller, its encoder is not (0.1 MB)" in again.out
    assert all(f"--method {name}" in again.out for name in ("starbucks", "matquant"))
    assert SentenceTransformer("small", device="cpu").encode(texts).shape == (5, 4)


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
    assert said.out == 'small: dims=8 as an anysize model; load it with anysize.load("small")\n'
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
