from __future__ import annotations

import numpy as np
import pytest

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.sizes.size import Size
from anysize.core.verbs.measure import measure
from anysize.text.embedder.method import MRL
from tests.conftest import WIDTH, sentences, spread_vectors, write_pairs


def vectors(count=60, seed=0):
    rows = spread_vectors(count, seed=seed)
    return Data(f"v{seed}", f"f{seed}", corpus=Items([str(row) for row in range(count)], rows, "vector"))


@pytest.fixture(scope="module")
def model():
    return MRL(dims=(4, 8, 16), epochs=1, batch_size=60).fit(vectors())


def test_every_size_and_every_arm_is_measured(model):
    frontier = measure(model, vectors())
    assert frontier.metric == "neighbours@10"
    assert frontier.arms == ("nested", "truncate", "pca", "original")
    for arm in ("nested", "truncate", "pca"):
        assert [record.size.dims for record in frontier.arm(arm)] == [4, 8, 16]
    (original,) = frontier.arm("original")
    assert original.size.dims == WIDTH
    assert original.metrics["neighbours@10"] == 1.0
    assert frontier.meta["data"] == "v0"


def test_only_the_sizes_that_are_asked_for(model):
    frontier = measure(model, vectors(), sizes=[Size(dims=8)], arms=["truncate"])
    assert [(record.arm, record.size.dims) for record in frontier.records] == [
        ("nested", 8),
        ("truncate", 8),
        ("original", WIDTH),
    ]
    with pytest.raises(SizeError, match="trained for dims 4, 8, 16"):
        measure(model, vectors(), sizes=[Size(dims=5)])


def test_arms_that_do_not_exist_or_come_twice(model):
    assert measure(model, vectors(), arms=["pca", "pca", "original"]).arms == ("nested", "pca", "original")
    with pytest.raises(AnysizeError, match=r"truncate \(usual\), pca \(usual\), single, original"):
        measure(model, vectors(), arms=["best"])


def test_the_data_it_learnt_from_is_measured_where_it_did_not_look(encoder_path, tmp_path):
    data = read(write_pairs(tmp_path / "p.jsonl"))
    other = read(write_pairs(tmp_path / "q.jsonl", seed=1))
    model = MRL(model=str(encoder_path), dims=(4, 8), epochs=1, batch_size=16).fit(data)
    held = len(data.pairs) - len(data.training_pairs())
    assert 0 < held < 20
    assert measure(model, data, arms=[]).meta["task"].startswith(f"retrieval: {held} queries held out")
    assert measure(model, other, arms=[]).meta["task"].startswith("retrieval: 60 queries over")
    # The same pairs from another file are the same data.
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((tmp_path / "p.jsonl").read_bytes())
    assert "held out" in measure(model, copy, arms=[]).meta["task"]


def test_texts_without_judgements_are_measured_by_neighbours(encoder_path, tmp_path):
    data = read(write_pairs(tmp_path / "p.jsonl"))
    model = MRL(model=str(encoder_path), dims=(4, 8), epochs=1, batch_size=16).fit(data)
    texts = Data("t", "f", corpus=Items([str(row) for row in range(20)], sentences(20)))
    assert measure(model, texts, arms=[]).metric == "neighbours@10"


def test_too_little_data_is_refused(model):
    with pytest.raises(DataError, match="nothing to measure"):
        measure(model, vectors(5))


def test_vectors_of_another_width_are_refused(model):
    other = Data("w", "f", corpus=Items([str(row) for row in range(20)], np.ones((20, 7), np.float32), "vector"))
    with pytest.raises(DataError, match=r"\(n, 32\)"):
        measure(model, other)
