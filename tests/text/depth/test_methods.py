import json
from pathlib import Path

import numpy as np
import pytest
import torch

import anysize as az
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.testing import check_nested_model
from anysize.text import NestedEncoder, Starbucks, TwoDMSE
from tests.conftest import sentences, write_pairs
from tests.core.verbs.test_fit import at_step
from tests.processes import die, killed, together


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl", count=48)


def options(encoder_path, **more):
    return {"model": str(encoder_path), "batch_size": 8, "learning_rate": 1e-3, "seed": 1, **more}


@pytest.mark.parametrize(
    "make",
    [
        lambda base: Starbucks(**options(base, sizes=("small=1:8", "tall=2:32"))),
        lambda base: TwoDMSE(**options(base, layers=(1, 2), dims=(8, 32))),
    ],
)
def test_what_is_fitted_keeps_every_promise_and_says_how_it_was_made(encoder_path, pairs, tmp_path, make):
    method = make(encoder_path)
    model = az.fit(pairs, method=method, out=tmp_path / "out")
    assert isinstance(model, NestedEncoder)
    check_nested_model(model, sentences(4))
    loaded = az.load(tmp_path / "out")
    assert loaded.nesting == model.nesting
    assert loaded.about["method"] == method.name
    assert loaded.about["learnt_from"] == "pairs"
    untouched = NestedEncoder.from_pretrained(encoder_path, sizes=Nesting.pairs(list(model.nesting)))
    assert np.abs(model.encode(sentences(4)) - untouched.encode(sentences(4))).max() > 1e-3


def test_learns_at_every_size(encoder_path, tmp_path):
    """The loss of held-out pairs falls at the smallest size as well as at the largest."""
    data = read(write_pairs(tmp_path / "many.jsonl", count=300))
    other = read(write_pairs(tmp_path / "other.jsonl", count=60, seed=9)).pairs
    model = Starbucks(**options(encoder_path, sizes=("1:8", "2:32"), epochs=4, batch_size=16)).fit(data)
    base = NestedEncoder.from_pretrained(encoder_path, sizes=Nesting.pairs(list(model.nesting)))

    def hits(encoder, size):
        left, right = (encoder.at(size).encode(column) for column in (other["anchor"], other["positive"]))
        return float(((left @ right.T).argmax(1) == np.arange(len(left))).mean())

    for size in model.nesting:
        assert hits(model, size) > hits(base, size) + 0.1, size


def test_a_single_size_is_trained_in_a_model_of_that_depth(encoder_path, pairs):
    method = TwoDMSE(**options(encoder_path, layers=(1, 2), dims=(8, 32)))
    twin = method.single(Size(layers=1, dims=8)).fit(read(pairs))
    assert list(twin.nesting) == [Size(layers=1, dims=8)]
    assert twin.encoder.depth == 1


def test_scored_pairs_and_triplets_train_too(encoder_path, tmp_path):
    both = zip(sentences(40), sentences(40, 5), strict=True)
    rows = [{"sentence1": one, "sentence2": other, "score": place % 5} for place, (one, other) in enumerate(both)]
    (tmp_path / "scored.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scored = TwoDMSE(**options(encoder_path, dims=(8, 32))).fit(read(tmp_path / "scored.jsonl"))
    assert scored.about["learnt_from"] == "scored pairs"
    rows = [{"anchor": a, "positive": a, "negative": b} for a, b in zip(sentences(40), sentences(40, 5), strict=True)]
    (tmp_path / "triplets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tripled = Starbucks(**options(encoder_path, layers=(1, 2), dims=(8, 32))).fit(read(tmp_path / "triplets.jsonl"))
    assert tripled.about["learnt_from"] == "triplets"
    assert len(tripled.nesting) == 4


@pytest.mark.parametrize("more", [{"mini_batch_size": 3}, {"gradient_checkpointing": True}])
def test_saving_memory_gives_the_same_model(encoder_path, pairs, more):
    data, shared = read(pairs), options(encoder_path, sizes=("1:8", "2:32"), learning_rate=1e-4)
    plain, thrifty = Starbucks(**shared).fit(data), Starbucks(**shared, **more).fit(data)
    # Parts draw other dropout masks than the whole batch does; the fixture's model has dropout, so compare loosely.
    tolerance = 1e-5 if "gradient_checkpointing" in more else 0.05
    np.testing.assert_allclose(plain.encode(sentences(5)), thrifty.encode(sentences(5)), atol=tolerance)


def test_default_sizes_are_the_diagonal_or_the_whole_grid(encoder_path):
    assert Starbucks(model=str(encoder_path)).nesting(12, 768)[0] == Size(layers=2, dims=32)
    assert TwoDMSE(model=str(encoder_path)).nesting(2, 32) == Nesting(layers=(1, 2), dims=(8, 16, 32))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda base: Starbucks(model=base, sizes=("1:8", "3:32")), "layers=2,dims=32"),
        (lambda base: TwoDMSE(model=base, dims=(8, 64)), "layers=2,dims=32"),
        (lambda base: Starbucks(model=base, sizes=("1:8",), dims=(8,)), "not both"),
        (lambda base: TwoDMSE(model=base, epochs=0), "epochs must be above zero"),
        (lambda base: TwoDMSE(), "--model"),
    ],
)
def test_what_cannot_be_fitted_is_refused(encoder_path, pairs, make, words):
    with pytest.raises((AnysizeError, SizeError), match=words):
        make(str(encoder_path)).fit(read(pairs))


def test_data_without_pairs_is_refused(encoder_path, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "ba"}\n{"text": "de"}')
    with pytest.raises(DataError, match=r"starbucks needs anchor, .* score; .* has text"):
        Starbucks(model=str(encoder_path)).fit(read(tmp_path / "texts.jsonl"))


def test_a_killed_fit_resumes_to_the_same_weights(encoder_path, tmp_path):
    data = read(write_pairs(tmp_path / "pairs.jsonl", count=80))
    method = TwoDMSE(model=str(encoder_path), layers=(1, 2), dims=(8, 16, 32), batch_size=4, epochs=3)
    whole = az.fit(data, method=method).state_dict()

    def work():
        at_step(23, die)
        az.fit(data, method=method, out=tmp_path / "cut")

    killed(work)
    assert not (tmp_path / "cut").exists()
    resumed = az.fit(data, method=method, out=tmp_path / "cut", resume=True).state_dict()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_two_processes_train_one_model(encoder_path, tmp_path):
    data = write_pairs(tmp_path / "pairs.jsonl", count=60)
    method = Starbucks(model=str(encoder_path), sizes=("1:8", "2:32"), batch_size=4)
    together(2, lambda: az.fit(read(data), method=method, out=tmp_path / "out"))
    model = az.load(tmp_path / "out")
    assert model.at(layers=1, dims=8).encode(sentences(1)).shape == (1, 8)
    assert not Path(f"{tmp_path / 'out'}.partial").exists()
