"""Sparse autoencoders in an index: through the contract alone, from Python and as typed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anysize.backbones.sentence import Encoder
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from anysize.sparse import SparseAutoencoder
from tests.conftest import sentences
from tests.sparse.making import ACTIVE, LATENTS, inputs, random_sae

X = inputs(400)


def cosines(sae: SparseAutoencoder, query: np.ndarray) -> np.ndarray:
    codes = sae.encode_dense(X).double().numpy()
    one = sae.encode_dense(query[None]).double().numpy()[0]
    return codes @ one / np.maximum(np.linalg.norm(codes, axis=1) * np.linalg.norm(one), 1e-30)


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "relu"])
def test_scores_are_those_of_dense_codes(tmp_path, activation):
    sae = random_sae(activation)
    query = inputs(1, seed=5)[0]
    found = Index.build(tmp_path / "idx", sae, X, vectors=False).search(query, k=400)
    wanted = cosines(sae, query)
    np.testing.assert_allclose([hit.score for hit in found.hits], np.sort(wanted)[::-1], atol=1e-5)
    assert found.hits[0].id == str(np.argmax(wanted))


def test_a_csr_model_as_typed(anysize, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sae = random_sae("topk", Nesting(active=(2, ACTIVE, LATENTS)))
    sae.save("sae")
    np.save("x.npy", X)
    np.save("query.npy", inputs(1, seed=5)[0])
    said = anysize("index", "sae", "x.npy", "--size", f"active={ACTIVE}", "--out", "idx", "--json")
    assert said.status == 0, said.err
    stages = f"active={ACTIVE}:30,dims=12"
    found = anysize("search", "idx", "--vector", "query.npy", "-k", "3", "--stages", stages, "--json").json
    shortlist = np.argsort(-cosines(sae.at(active=ACTIVE), np.load("query.npy")), kind="stable")[:30]
    true = X @ np.load("query.npy") / np.linalg.norm(X, axis=1)
    assert [int(hit["id"]) for hit in found["hits"]] == list(shortlist[np.argsort(-true[shortlist])][:3])
    assert f"active={ACTIVE} of 400" in anysize("search", "idx", "--vector", "query.npy", "--stages", stages).out
    assert "codes over 40 latents" in anysize("info", "idx").out
    small = anysize(
        "index", "sae", "x.npy", "--size", f"active={ACTIVE}", "--no-vectors", "--out", "codes", "--json"
    ).json
    assert small["bytes"] < said.json["bytes"]
    assert anysize("search", "codes", "--vector", "query.npy", "-k", "1", "--json").json["hits"]


def test_texts_pass_through_the_encoder_that_it_was_fitted_on(tmp_path, encoder_path):
    texts = sentences(80)
    vectors = Encoder(str(encoder_path)).encode(texts)
    sae = SparseAutoencoder(Nesting(latents=(64,)), vectors.shape[1], activation="topk", active=8)
    with torch.no_grad():
        sae.W_enc.copy_(torch.randn(sae.W_enc.shape, generator=torch.Generator().manual_seed(0)))
        sae.W_dec.copy_(sae.W_enc.T)
        sae.mean.copy_(torch.from_numpy(vectors.mean(0)))
    sae.about = {"options": {"model": str(encoder_path)}}
    sae.save(tmp_path / "sae")
    index = Index.build(tmp_path / "idx", str(tmp_path / "sae"), texts)
    assert Index.open(tmp_path / "idx").search(texts[17], k=1, stages="active=8:10,dims=32").hits[0].text == texts[17]
    assert index.nesting.full.dims == 32
