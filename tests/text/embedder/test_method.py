from __future__ import annotations

import numpy as np
import pytest
import torch

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items, Table
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.core.sizes.widths import default_dims
from anysize.evaluation.nearest import rank
from anysize.text.embedder.fit import encoder_of, head, training_features
from anysize.text.embedder.method import MRL
from tests.conftest import WIDTH, neighbour_overlap, sentences, spread_vectors, write_pairs


def vectors_data(count: int = 400) -> Data:
    vectors = spread_vectors(count)
    return Data("v", "f", corpus=Items([str(row) for row in range(count)], vectors, "vector"))


def test_default_sizes_are_powers_of_two_from_8_and_the_width():
    assert default_dims(384) == (8, 16, 32, 64, 128, 256, 384)
    assert default_dims(8) == (8,)
    assert default_dims(5) == (5,)
    assert default_dims(32) == (8, 16, 32)


def test_on_vectors_alone_it_keeps_neighbours_that_a_cut_loses():
    data = vectors_data()
    model = MRL(dims=(8, 16), epochs=20, batch_size=100, learning_rate=1e-2).fit(data)
    vectors = data.items().vectors
    cut = neighbour_overlap(vectors, vectors[:, :8], k=10)
    kept = neighbour_overlap(vectors, model.at(dims=8).encode(vectors), k=10)
    assert cut < 0.2
    assert kept > 0.8
    assert model.encoder is None
    assert model.about["learnt_from"] == "vectors"
    assert model.about["rows"] == 400


def test_from_pairs_it_learns_what_a_cut_does_not_show(tmp_path):
    """Partners agree in the last coordinates only; the rest is noise."""
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((300, 8))

    def side():
        return np.hstack([rng.standard_normal((300, 24)), meaning]).astype(np.float32)

    anchors, positives = side(), side()
    method = MRL(dims=(8, 16), epochs=40, batch_size=100, learning_rate=1e-2, keep=0)
    model = head(method, {"anchor": anchors[:200], "positive": positives[:200]}, tmp_path)

    def right(one, other):
        return float((rank(one, other, k=1)[0][:, 0] == np.arange(len(one))).mean())

    small = model.at(dims=8)
    assert right(anchors[200:, :8], positives[200:, :8]) < 0.1
    assert right(small.encode(anchors[200:]), small.encode(positives[200:])) > 0.5
    assert model.about["learnt_from"] == "pairs"


def test_on_texts_it_keeps_neighbours_better_than_a_cut(encoder_path):
    texts = sentences(200)
    data = Data("t", "f", corpus=Items([str(row) for row in range(200)], texts))
    model = MRL(model=str(encoder_path), dims=(4, 8), epochs=30, batch_size=100, learning_rate=1e-2).fit(data)
    features = model.features(texts)
    cut = neighbour_overlap(features, features[:, :4], k=10)
    assert neighbour_overlap(features, model.at(dims=4).encode(texts), k=10) > cut + 0.1
    assert model.about["options"]["model"] == str(encoder_path)


def test_on_pairs_of_texts_it_trains_and_says_how(encoder_path, tmp_path):
    data = read(write_pairs(tmp_path / "p.jsonl"))
    model = MRL(model=str(encoder_path), dims=(4, 8), epochs=2, batch_size=16, seed=3).fit(data)
    assert model.nesting == Nesting(dims=(4, 8))
    assert model.about["rows"] == len(data.training_pairs())
    assert model.about["data"] == {"name": "p", "fingerprint": data.fingerprint}
    assert model.about["options"]["seed"] == 3
    assert model.about["losses"]
    assert not model.weight.requires_grad
    assert not model.training


def test_the_corpus_and_negatives_take_part(encoder_path):
    texts = sentences(40)
    corpus = Items([f"d{row}" for row in range(40)], texts)
    queries = Items([f"q{row}" for row in range(12)], sentences(12, seed=5))
    judged = {"train": {f"q{row}": {f"d{row}": 1.0} for row in range(12)}}
    columns = training_features(MRL(model=str(encoder_path)), Data("b", "f", corpus, queries, judged))
    assert {name: column.shape for name, column in columns.items()} == {
        "anchor": (12, WIDTH),
        "positive": (12, WIDTH),
        "corpus": (40, WIDTH),
    }
    pairs = Table({"anchor": texts[:20], "positive": texts[20:], "negative": texts[:20]})
    columns = training_features(MRL(model=str(encoder_path)), Data("p", "f", table=pairs))
    assert columns["negative"].shape == columns["anchor"].shape


def test_empty_texts_are_not_learnt_from(encoder_path):
    texts = ["", *sentences(9), "  "]
    data = Data("t", "f", corpus=Items([str(row) for row in range(11)], texts))
    assert training_features(MRL(model=str(encoder_path)), data)["vector"].shape == (9, WIDTH)


def test_one_seed_gives_one_model():
    one, same = (MRL(dims=(4, 8), epochs=2, batch_size=64, seed=1).fit(vectors_data(128)) for _ in range(2))
    other = MRL(dims=(4, 8), epochs=2, batch_size=64, seed=2).fit(vectors_data(128))
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)


def test_a_memory_mapped_read_only_file_trains_without_a_warning(tmp_path):
    np.save(tmp_path / "v.npy", spread_vectors(64))
    data = read(tmp_path / "v.npy")
    assert not data.items().vectors.flags.writeable
    assert MRL(dims=(4, 8), epochs=1).fit(data).weight.shape == (8, WIDTH)


def test_the_full_model_is_tuned_and_has_no_head(encoder_path, tmp_path, capfd):
    data = read(write_pairs(tmp_path / "p.jsonl"))
    base = encoder_of(MRL(model=str(encoder_path))).fingerprint()
    model = MRL(model=str(encoder_path), tune="full", dims=(8, WIDTH), batch_size=16, learning_rate=1e-3).fit(data)
    assert model.weight is None
    assert model.encoder.fingerprint() != base
    assert model.at(dims=8).encode(["balan"]).shape == (1, 8)
    assert model.about["rows"] == len(data.training_pairs())
    assert "widget" not in capfd.readouterr().err  # no bar of the trainer's own


def test_the_single_twin_differs_in_its_size_alone():
    method = MRL(model="m", dims=(8, 16), seed=4)
    assert method.single(Size(dims=8)) == MRL(model="m", dims=(8,), seed=4)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": 0.0}, {"scale": -1.0}])
def test_options_that_cannot_be(wrong):
    with pytest.raises(AnysizeError, match="must be above zero"):
        MRL(**wrong)


@pytest.mark.parametrize(
    ("options", "data", "error", "says"),
    [
        ({"dims": (8, 64)}, vectors_data(20), SizeError, "64 exceeds"),
        ({"dims": (16, 8)}, vectors_data(20), SizeError, "increasing"),
        ({}, vectors_data(7), DataError, "7 rows are too few"),
        ({}, Data("z", "f", corpus=Items(list("abcdefgh"), np.zeros((8, 4), "f4"), "vector")), DataError, "is zeros"),
        ({"model": "m"}, vectors_data(20), DataError, "leave out the model"),
        ({"tune": "full"}, vectors_data(20), DataError, "tune head"),
        ({}, Data("t", "f", corpus=Items(["a"], ["x"])), AnysizeError, "name the model to start from with --model"),
        ({"tune": "full", "model": "m"}, Data("t", "f", corpus=Items(["a"], ["x"])), DataError, "no pairs"),
    ],
)
def test_what_cannot_be_learnt_is_refused(options, data, error, says):
    with pytest.raises(error, match=says):
        MRL(**options).fit(data)


def test_impossible_sizes_are_refused_before_encoding(encoder_path, monkeypatch):
    from anysize.backbones.sentence import Encoder

    monkeypatch.setattr(Encoder, "encode", lambda *_, **__: pytest.fail("encoded first"))
    data = Data("t", "f", corpus=Items([str(row) for row in range(20)], sentences(20)))
    with pytest.raises(SizeError, match="exceeds the model"):
        MRL(model=str(encoder_path), dims=(8, 64)).fit(data)
    with pytest.raises(SizeError, match="increasing"):
        MRL(model=str(encoder_path), dims=(16, 8)).fit(data)
