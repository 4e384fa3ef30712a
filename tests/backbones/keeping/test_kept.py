from __future__ import annotations

import numpy as np
import pytest

from anysize.backbones.keeping.kept import FeatureStore
from anysize.core.errors import CheckpointError
from tests.conftest import flips


def test_it_gives_back_what_it_was_given_in_the_order_asked():
    store = FeatureStore()
    store.add(["a", "b", ""], np.arange(6, dtype=np.float32).reshape(3, 2))
    assert "a" in store
    assert "" in store
    assert "c" not in store
    assert store.take(["b", "a", "b"]).tolist() == [[2, 3], [0, 1], [2, 3]]


def test_a_later_store_starts_from_what_is_on_disk(tmp_path):
    first = FeatureStore(tmp_path)
    first.add(["a", "é\n"], np.ones((2, 3), np.float32))
    first.add(["b"], np.full((1, 3), 7, np.float32))
    second = FeatureStore(tmp_path)
    assert second.take(["b", "é\n"]).tolist() == [[7, 7, 7], [1, 1, 1]]
    assert second.take(["a"]).dtype == np.float32
    assert len(list(tmp_path.iterdir())) == 2


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    texts, rows = ["a", "b"], np.random.default_rng(0).random((2, 3), np.float32)
    FeatureStore(tmp_path).add(texts, rows)
    (file,) = tmp_path.iterdir()
    refused = []
    for _ in flips(file, 10_000):
        try:
            found = FeatureStore(tmp_path)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        assert all(text in found for text in texts)
        assert np.array_equal(found.take(texts), rows)
    assert all(f"{file} cannot be read; delete that file" in said for said in refused)
    assert len(refused) > 0.5 * file.stat().st_size


def test_adding_the_same_texts_again_writes_the_same_file(tmp_path):
    for _ in range(2):
        FeatureStore(tmp_path).add(["a"], np.zeros((1, 2), np.float32))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_text_it_does_not_know_is_an_error():
    with pytest.raises(KeyError):
        FeatureStore().take(["a"])


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FeatureStore().add(["a"], np.zeros((1, 2), np.float32))
    assert not list(tmp_path.iterdir())
