from __future__ import annotations

import numpy as np
import pytest

from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.rivals import rival
from anysize.evaluation.principal import principal_rows
from anysize.text.embedder.fit import encoder_of
from anysize.text.embedder.method import MRL
from anysize.text.embedder.model import Embedder
from tests.conftest import WIDTH, spread_vectors, write_pairs


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def data() -> Data:
    return Data("v", "f", corpus=Items([str(row) for row in range(128)], spread_vectors(128), "vector"))


@pytest.fixture(scope="module")
def model(data) -> Embedder:
    return MRL(dims=(4, 8, 16), epochs=1, batch_size=64).fit(data)


def test_the_original_is_the_input_itself_at_its_own_width(model, data):
    (original,) = rival(model, "original", data)
    assert original.size.dims == WIDTH
    np.testing.assert_allclose(original.encode(data.items().vectors), unit(data.items().vectors), atol=1e-6)


def test_truncation_takes_the_first_coordinates_at_each_trained_size(model, data):
    views = rival(model, "truncate", data)
    assert [view.size.dims for view in views] == [4, 8, 16]
    np.testing.assert_allclose(views[1].encode(data.items().vectors), unit(data.items().vectors[:, :8]), atol=1e-6)
    assert views[1].cost().parameters == 0


def test_pca_projects_on_the_principal_directions_of_the_data(model, data):
    vectors = data.items().vectors
    views = rival(model, "pca", data)
    assert [view.size.dims for view in views] == [4, 8, 16]
    expected = unit(vectors @ principal_rows(vectors, WIDTH).numpy()[:8].T)
    np.testing.assert_allclose(views[1].encode(vectors), expected, atol=1e-5)
    assert views[1].weight.shape[0] == 16


def test_single_trains_one_model_for_each_size_alone(model, data):
    twins = rival(model, "single", data)
    assert [twin.nesting for twin in twins] == [Nesting(dims=(dims,)) for dims in (4, 8, 16)]
    alone = MRL(dims=(8,), epochs=1, batch_size=64).fit(data)
    np.testing.assert_allclose(twins[1].weight, alone.weight, atol=1e-6)
    assert not np.allclose(twins[1].weight, model.weight[:8])


def test_single_on_other_data_would_train_on_what_is_measured_so_it_is_refused(model, data):
    other = Data("w", "another", corpus=data.corpus)
    with pytest.raises(AnysizeError, match="fitted on"):
        rival(model, "single", other)


def test_a_loaded_model_still_has_its_rivals(model, data, tmp_path):
    model.save(tmp_path / "m")
    loaded = Embedder.load(tmp_path / "m")
    np.testing.assert_allclose(
        rival(loaded, "single", data)[0].weight, rival(model, "single", data)[0].weight, atol=1e-6
    )


def test_a_tuned_model_is_compared_with_the_one_it_came_from(encoder_path, tmp_path):
    data = read(write_pairs(tmp_path / "p.jsonl"))
    tuned = MRL(model=str(encoder_path), tune="full", dims=(8, 16), batch_size=16, learning_rate=1e-3).fit(data)
    untouched = encoder_of(MRL(model=str(encoder_path))).encode(["balan demer"])
    (original,) = rival(tuned, "original", data)
    np.testing.assert_allclose(original.encode(["balan demer"]), unit(untouched), atol=1e-5)
    assert not np.allclose(tuned.features(["balan demer"]), untouched, atol=1e-3)
    twins = rival(tuned, "single", data)
    assert [twin.nesting.full.dims for twin in twins] == [8, 16]


@pytest.mark.parametrize("name", ["nested", "Truncate", ""])
def test_there_are_no_other_rivals(model, data, name):
    with pytest.raises(AnysizeError, match=r"truncate \(usual\), pca \(usual\), single, original"):
        rival(model, name, data)


def test_a_model_of_unknown_making_has_no_twin(data, encoder):
    bare = Embedder(Nesting(dims=(4,)), WIDTH)
    with pytest.raises(AnysizeError, match="how it was made"):
        rival(bare, "single", data)
    with pytest.raises(AnysizeError, match="tuned from"):
        rival(Embedder(Nesting(dims=(4,)), WIDTH, encoder=encoder), "truncate", data)
