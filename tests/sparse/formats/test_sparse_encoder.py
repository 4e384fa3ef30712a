"""What is cut as a SparseEncoder, loaded by sentence-transformers itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.backbones.packaged import packaged
from anysize.backbones.sentence import Encoder
from anysize.backbones.texts import cut_texts
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.search.intake.items import embed
from anysize.sparse import SparseAutoencoder
from anysize.sparse.formats.sparse_encoder import module_of, write_sparse_encoder
from anysize.sparse.rows.source import Source
from anysize.text.embedder.model import Embedder
from tests.conftest import sentences, tree, write_pairs
from tests.sparse.making import ACTIVE, LATENTS, inputs, random_sae
from tests.text.bases import SIDED, TEXTS, Kind, make, unit


def same_codes(folder: Path, sae: SparseAutoencoder, texts: list[str]) -> None:
    from sentence_transformers import SparseEncoder

    loaded = SparseEncoder(str(folder), device="cpu")
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        found = loaded.encode(texts)
    assert found.is_sparse
    wanted = sae.encode(sae.features(texts))
    torch.testing.assert_close(found.to_dense(), wanted.dense(), atol=2e-5, rtol=1e-4)
    np.testing.assert_array_equal((found.to_dense() > 0).sum(1).numpy(), wanted.counts.numpy())
    unit = torch.nn.functional.normalize(wanted.dense(), dim=1)
    with torch.sparse.check_sparse_tensor_invariants(enable=True):
        pairs = loaded.similarity_pairwise(found.to_dense()[:-1], found.to_dense()[1:])
    torch.testing.assert_close(pairs, (unit[:-1] * unit[1:]).sum(1), atol=1e-5, rtol=1e-4)


def doubled(module):
    """The same module with twice as many active latents."""
    module.k *= 2
    return module


@pytest.mark.parametrize(
    ("activation", "nesting", "size"),
    [
        ("topk", Nesting(active=(2, ACTIVE, LATENTS)), {"active": ACTIVE}),
        ("topk", Nesting(active=(2, ACTIVE, LATENTS)), {"active": LATENTS}),
        ("topk", Nesting(latents=(20, LATENTS)), {"latents": 20}),
        ("relu", Nesting(latents=(20, LATENTS)), {"latents": LATENTS}),
    ],
)
def test_the_module_folds_centre_scale_and_bias(activation, nesting, size):
    view = random_sae(activation, nesting).at(size)
    x, module = torch.from_numpy(inputs()), module_of(view).eval()
    with torch.inference_mode():
        found = module({"sentence_embedding": x})["sentence_embedding"]
    torch.testing.assert_close(found, view.encode_dense(x), atol=1e-5, rtol=1e-4)
    assert float(view.scale) != 1


def test_a_fitted_model_as_typed(anysize, tmp_path: Path, encoder_path: Path, monkeypatch):
    texts = sentences(90)
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    words = ["fit", tmp_path / "texts.jsonl", "--method", "csr", "--model", encoder_path, "--latents", "64"]
    assert anysize(*words, "--active", "4,16", "--steps", "30", "--out", tmp_path / "codes").status == 0
    cut = ["cut", tmp_path / "codes", "--size", "active=4", "--format", "sparse-encoder", "--out", tmp_path / "st"]
    said = anysize(*cut)
    assert said.status == 0, said.err
    assert "checked by sentence-transformers" in said.out
    assert f'load it with sentence_transformers.SparseEncoder("{tmp_path / "st"}")' in said.out
    same_codes(tmp_path / "st", az.load(tmp_path / "codes", active=4), sentences(25, seed=7))
    assert anysize(*cut).status == 0  # an older one is replaced
    before = tree(tmp_path)
    with monkeypatch.context() as wrong:
        wrong.setattr("anysize.sparse.formats.sparse_encoder.module_of", lambda *given: doubled(module_of(*given)))
        anysize(*cut).refused("codes of 12 texts: sentence-transformers", "away from the model")
    assert tree(tmp_path) == before
    (tmp_path / "st" / "anysize-export.json").unlink()
    anysize(*cut).refused("not ours to replace")  # it might be one that a user trained
    anysize(*cut[:-3], "gguf", *cut[-2:]).refused("no format 'gguf'; there are: saelens, sparse-encoder")


def test_an_index_of_long_texts_tells_what_is_cut_or_holds_passages(anysize, tmp_path: Path, encoder_path: Path):
    cut_texts.say_once.cache_clear()  # the line is told once in a process
    sae = SparseAutoencoder(Nesting(active=(4, 16)), 32, activation="topk", latents=64)
    with torch.no_grad():
        for weight in (sae.W_enc, sae.W_dec):
            weight.normal_(generator=torch.Generator().manual_seed(0))
    sae.about = {"method": "csr", "options": {"model": str(encoder_path)}}
    sae.save(tmp_path / "codes")
    long = " ".join(sentences(30, seed=5))
    texts = [*sentences(20, seed=3), long]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    words = ["index", tmp_path / "codes", tmp_path / "texts.jsonl", "--out"]
    said = anysize(*words, tmp_path / "cut")
    assert said.status == 0, said.err
    assert "1 of 21 texts are longer than the 32 tokens that the model reads" in said.err
    assert "--passages" in said.err
    said = anysize(*words, tmp_path / "whole", "--passages", "--json")
    assert said.status == 0, said.err
    (spans,) = Encoder(str(encoder_path)).window().passages([long])
    assert len(spans) > 5
    assert said.json["count"] == 20 + len(spans)
    tail = long[slice(*spans[-1])].strip()
    found = anysize("search", tmp_path / "whole", tail, "-k", "1", "--json")
    assert found.json["hits"][0]["id"] == f"20#{len(spans)}"


def test_over_a_nested_encoder_of_ours(anysize, tmp_path: Path, encoder_path: Path):
    pairs = write_pairs(tmp_path / "pairs.jsonl", 60)
    head = ["fit", pairs, "--model", encoder_path, "--dims", "8,16", "--epochs", "1", "--out", tmp_path / "nested"]
    assert anysize(*head).status == 0
    words = ["fit", pairs, "--method", "msae", "--model", tmp_path / "nested", "--latents", "64", "--active", "4,64"]
    assert anysize(*words, "--steps", "30", "--out", tmp_path / "codes").status == 0
    sae = az.load(tmp_path / "codes", active=4)
    write_sparse_encoder(sae, tmp_path / "st")
    same_codes(tmp_path / "st", sae, sentences(25, seed=7))


def test_over_a_base_with_prompts_that_cuts_its_vectors(tmp_path: Path):
    """Documents are what it was fitted on; queries are embedded as such in searching, measuring and the export."""
    from sentence_transformers import SentenceTransformer, SparseEncoder

    base = make(Kind(normalize=False, settings={**SIDED, "truncate_dim": 12}), tmp_path)
    plain, sae = SentenceTransformer(str(base), device="cpu"), random_sae("topk")
    sae.about = {"options": {"model": str(base)}}
    write_sparse_encoder(sae, tmp_path / "st")
    loaded = SparseEncoder(str(tmp_path / "st"), device="cpu")
    items = Items([str(row) for row in range(len(TEXTS))], TEXTS)
    np.testing.assert_allclose(sae.features(TEXTS), plain.encode_document(TEXTS), atol=1e-5)
    for side in ("query", "document"):
        rows = getattr(plain, f"encode_{side}")(TEXTS)
        np.testing.assert_allclose(embed(sae, TEXTS, side), rows, atol=1e-5)
        np.testing.assert_allclose(sae.vectors(items, side), rows, atol=1e-5)
        found = getattr(loaded, f"encode_{side}")(TEXTS).to_dense()
        torch.testing.assert_close(found, sae.encode_dense(rows), atol=1e-4, rtol=1e-4)
    Embedder(Nesting(dims=(4, 12)), 12, encoder=Encoder(str(base))).save(tmp_path / "ours")
    sae.source, before = Source(str(tmp_path / "ours")), sae.fingerprint
    assert sae.config()["source"]["model"] == str(tmp_path / "ours")
    wanted = unit(plain.encode_document(TEXTS))
    np.testing.assert_allclose(sae.features(TEXTS), wanted, atol=1e-5)  # the encoder is no part of the autoencoder
    assert (sae.fingerprint, set(sae.saved_state())) == (before, set(random_sae("topk").saved_state()))
    runner = Source(str(base)).runner()
    np.testing.assert_allclose(runner(list(TEXTS)), plain.encode_document(TEXTS), atol=1e-5)


@pytest.mark.skipif(packaged("all-MiniLM-L6-v2") is None, reason="needs the demo extra")
def test_over_all_minilm(tmp_path: Path):
    texts = ["How do I reset my password?", "The wing stalls at low speed.", "Bread needs salt.", "x" * 4000]
    sae = SparseAutoencoder(Nesting(active=(8, 32)), 384, activation="topk", latents=1536)
    with torch.no_grad():
        sae.W_enc.copy_(torch.randn(sae.W_enc.shape, generator=torch.Generator().manual_seed(0)))
        sae.W_dec.copy_(sae.W_enc.T)
        sae.mean.fill_(0.01)
        sae.b_dec.fill_(-0.02)
        sae.scale.fill_(19.0)
    sae.about = {"options": {"model": "all-MiniLM-L6-v2"}}
    write_sparse_encoder(sae.at(active=32), tmp_path / "st")
    same_codes(tmp_path / "st", sae.at(active=32), texts)


def test_what_a_sparse_encoder_cannot_be_is_refused(tmp_path: Path, encoder_path: Path):
    for sae, words in (
        (random_sae("batchtopk"), "batchtopk codes are cut by a threshold"),
        (random_sae("topk"), "was fitted on vectors"),
    ):
        with pytest.raises(AnysizeError, match=words):
            sae.export(tmp_path / "no", form="sparse-encoder")
    sae = random_sae("topk")
    sae.about = {"options": {"model": str(encoder_path), "site": "layer.1"}}
    with pytest.raises(AnysizeError, match="fitted on tokens"):
        write_sparse_encoder(sae, tmp_path / "no")
    assert not (tmp_path / "no").exists()
