from __future__ import annotations

import numpy as np
import pytest

import anysize as az
from anysize.core.errors import AnysizeError, DataError
from anysize.vision import position_probe_r2
from tests.tiny_vision import shapes, write_folder


def test_position_is_taken_out_of_a_models_patches_and_nothing_else(photos, tower_path, tmp_path, anysize):
    said = anysize("fit", photos, "--method", "rasa", "--model", tower_path, "--out", tmp_path / "flat")
    assert said.status == 0, said
    flat, base = az.load(tmp_path / "flat"), az.load(tmp_path / "flat")
    base.flat = None
    rows = shapes(40, seed=5)
    assert position_probe_r2(flat.tokens(rows)) < 0.6 * position_probe_r2(base.tokens(rows))
    np.testing.assert_array_equal(flat.encode(rows), base.encode(rows))
    about = flat.about
    assert about["planes"] == len(about["position_r2"]) - 1 == 1
    assert about["position_r2"][0] > about["position_r2"][-1]
    ridge = az.fit(photos, method="rasa", model=tower_path, solver="ridge", planes=3, stop=-9.0)
    assert ridge.about["planes"] == len(ridge.about["position_r2"]) - 1 == 3
    with pytest.raises(AnysizeError, match="has its position taken out already"):
        az.fit(photos, method="rasa", model=str(tmp_path / "flat"))


def test_what_it_cannot_learn_from_is_told(tower_path, tmp_path, encoder_path):
    one = write_folder(tmp_path / "one", 1, labelled=False)
    with pytest.raises(DataError, match="1 picture that can be read; give at least 2"):
        az.fit(one, method="rasa", model=tower_path)
    (one / "broken.png").write_bytes(b"nothing")
    write_folder(one, 4, labelled=False)
    made = az.fit(one, method="rasa", model=tower_path, planes=1)
    assert made.about["left_out"].startswith("1 of 5 pictures are left out: ")
    with pytest.raises(DataError, match=r"broken\.png"):
        az.fit(one, method="rasa", model=tower_path, strict=True)
    with pytest.raises(DataError, match="needs image"):
        az.fit(["a text"] * 4, method="rasa", model=tower_path)
    with pytest.raises(AnysizeError, match="name the model to start from"):
        az.fit(one, method="rasa")
    with pytest.raises(AnysizeError, match="cannot load the image model"):
        az.fit(one, method="rasa", model=str(tmp_path / "nowhere"))
