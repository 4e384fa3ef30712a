from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from anysize import testing
from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError
from anysize.core.model import checkpoint
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.verbs.load import load
from anysize.text.embedder.model import Embedder
from tests.conftest import WIDTH, sentences, spread_vectors

NESTING = Nesting(dims=(4, 8, 16))
TEXTS = sentences(9, seed=3)


def head(rows: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_it_slices_first_and_normalises_after():
    vectors, weight = spread_vectors(7), head()
    model = Embedder(NESTING, WIDTH, weight=weight)
    for dims in (4, 8, 16):
        expected = unit(vectors.astype(np.float64) @ weight.numpy().astype(np.float64)[:dims].T)
        found = model.at(dims=dims).encode(vectors)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_a_head_the_coordinates_themselves_are_nested():
    vectors = spread_vectors(7)
    found = Embedder(NESTING, WIDTH).at(dims=4).encode(vectors)
    np.testing.assert_allclose(found, unit(vectors[:, :4]), atol=1e-6)


def test_a_text_and_its_features_embed_alike(encoder):
    model = Embedder(NESTING, WIDTH, encoder=encoder, weight=head())
    features = model.features(TEXTS)
    np.testing.assert_allclose(features, encoder.model.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(model.encode(features), model.encode(TEXTS), atol=1e-6)


def test_a_zero_vector_stays_finite():
    assert np.isfinite(Embedder(NESTING, WIDTH, weight=head()).encode(np.zeros((2, WIDTH), np.float32))).all()


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (np.zeros((2, WIDTH + 1), np.float32), DataError, r"\(n, 32\); got \(2, 33\)"),
        (np.zeros(WIDTH, np.float32), DataError, r"shape \(32,\)"),
        (np.full((2, WIDTH), np.nan, np.float32), DataError, "NaN or a value too large"),
        (np.full((2, WIDTH), np.inf, np.float32), DataError, "NaN or a value too large"),
        ("one text", DataError, "not a list"),
        (["a text"], AnysizeError, "has no encoder"),
    ],
)
def test_inputs_it_refuses(given, error, says):
    with pytest.raises(error, match=says):
        Embedder(NESTING, WIDTH).features(given)


def test_read_only_vectors_give_no_warning(tmp_path):
    np.save(tmp_path / "v.npy", spread_vectors(5))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert Embedder(NESTING, WIDTH, weight=head()).encode(mapped).shape == (5, 16)
    assert Embedder(NESTING, WIDTH).encode(mapped).shape == (5, 16)


def plain(weight: torch.Tensor | None):
    def run(example):
        x = torch.from_numpy(np.asarray(example, np.float32))
        z = x[:, :16] if weight is None else x @ weight.T
        return z / z.norm(dim=1, keepdim=True)

    return run


@pytest.mark.parametrize("weight", [head(), None], ids=["head", "no-head"])
def test_it_keeps_every_promise_of_a_nested_model_on_vectors(weight):
    model = Embedder(NESTING, WIDTH, weight=weight)
    testing.check_nested_model(model, spread_vectors(6), plain=plain(weight), shape=lambda size: (6, size.dims))


@pytest.mark.parametrize("weight", [head(), None], ids=["head", "no-head"])
def test_it_keeps_every_promise_of_a_nested_model_on_texts(weight, encoder):
    model = Embedder(NESTING, WIDTH, encoder=encoder, weight=weight)
    testing.check_nested_model(model, TEXTS, plain=lambda texts: plain(weight)(encoder.model.encode(texts)))


def test_cost_counts_the_bytes_of_a_vector_and_the_rows_in_use():
    cost = Embedder(NESTING, WIDTH, weight=head()).at(dims=8).cost()
    assert (cost.bytes, cost.parameters, cost.flops) == (32, 8 * WIDTH, 2 * 8 * WIDTH)
    assert Embedder(NESTING, WIDTH).at(dims=8).cost().parameters == 0


def test_a_partial_load_reads_only_the_blocks_of_that_size(tmp_path, monkeypatch):
    Embedder(NESTING, WIDTH, weight=head()).save(tmp_path / "m")
    read = []

    real = checkpoint._Stored.tensor
    monkeypatch.setattr(checkpoint._Stored, "tensor", lambda stored, name: read.append(name) or real(stored, name))
    small = load(tmp_path / "m", dims=8)
    assert read == ["weight[0:4]", "weight[4:8]"]
    assert small.weight.shape == (8, WIDTH)
    assert small.nesting == Nesting(dims=(4, 8))
    with pytest.raises(SizeError):
        small.at(dims=16)


def test_the_encoder_is_not_read_before_the_first_text(tmp_path, encoder):
    model = Embedder(NESTING, WIDTH, encoder=encoder, weight=head())
    expected = model.encode(TEXTS)
    model.save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert loaded.encoder._model is None
    assert loaded.fingerprint == model.fingerprint
    assert loaded.encoder._model is None
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-6)


def test_another_encoder_is_another_fingerprint(encoder):
    one = Embedder(NESTING, WIDTH, encoder=encoder, weight=head()).fingerprint
    encoder.model[0].model.embeddings.word_embeddings.weight.data[7] += 1
    assert Embedder(NESTING, WIDTH, encoder=encoder, weight=head()).fingerprint != one


def test_converting_a_view_takes_its_size(encoder):
    model = Embedder(NESTING, WIDTH, encoder=encoder, weight=head())
    assert model.at(dims=8).convert().encode(TEXTS).shape == (9, 8)
    assert model.at(dims=8).at(Size(dims=4)).convert().encode(TEXTS).shape == (9, 4)
    assert model.convert().encode(TEXTS).shape == (9, 16)
    with pytest.raises(SizeError, match="4, 8, 16"):
        model.at(dims=5).convert()


def test_converting_leaves_the_encoder_alone(encoder):
    model = Embedder(NESTING, WIDTH, encoder=encoder, weight=head())
    small = model.at(dims=4).convert()
    small[0].model.embeddings.word_embeddings.weight.data.zero_()
    assert encoder.model[0].model.embeddings.word_embeddings.weight.abs().sum() > 0
    assert len(list(encoder.model)) == 2


CASES = {"head": (NESTING, head(), 8), "no-head": (NESTING, None, 8), "whole": (Nesting(dims=(8, WIDTH)), None, WIDTH)}


def test_what_is_converted_loads_without_anysize_and_embeds_alike(tmp_path, encoder_path, encoder):
    for name, (nesting, weight, dims) in CASES.items():
        model = Embedder(nesting, WIDTH, encoder=encoder, weight=weight)
        model.at(dims=dims).convert().save(str(tmp_path / name), create_model_card=False)
        np.save(tmp_path / f"{name}.npy", model.at(dims=dims).encode(TEXTS))
    program = f"""
import sys
sys.modules["anysize"] = None  # as if it were not installed
import numpy as np
from sentence_transformers import SentenceTransformer
for name in {list(CASES)}:
    model = SentenceTransformer({str(tmp_path)!r} + "/" + name, device="cpu")
    vectors = model.encode({json.dumps(TEXTS)})
    apart = np.abs(vectors - np.load({str(tmp_path)!r} + "/" + name + ".npy")).max()
    assert apart < 1e-5, (name, apart)
    assert model.get_embedding_dimension() == vectors.shape[1], name
print("alike")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "alike\n", done.stderr


def test_without_an_encoder_a_smaller_embedder_is_extracted(tmp_path):
    vectors = spread_vectors(5)
    model = Embedder(NESTING, WIDTH, weight=head())
    with pytest.raises(AnysizeError, match="was fitted on vectors, and a sentence-transformers model reads texts"):
        model.at(dims=8).convert()
    small = model.at(dims=8).extract()
    assert isinstance(small, Embedder)
    assert small.weight.shape == (8, WIDTH)
    small.save(tmp_path / "small")
    np.testing.assert_allclose(load(tmp_path / "small").encode(vectors), model.at(dims=8).encode(vectors), atol=1e-6)


def test_a_saved_model_without_its_encoder_says_so(tmp_path, encoder):
    import shutil

    Embedder(NESTING, WIDTH, encoder=encoder, weight=head()).save(tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / "encoder")
    model = load(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"encoder.* is missing"):
        model.encode(TEXTS)
