import pytest
import torch

import anysize as az
from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError
from anysize.core.registry import find
from anysize.core.verbs.rivals import check_same_data, method_of, rival


def test_a_model_gives_back_the_method_that_made_it_and_refuses_other_data(tmp_path):
    data = Data("mine", "one", corpus=Items([str(n) for n in range(40)], torch.randn(40, 8).numpy(), "vector"))
    method = find("methods", "mrl")(dims=(2, 4, 8), epochs=1)
    model = method.fit(data)
    model.save(tmp_path / "m")
    again = az.load(tmp_path / "m")
    assert method_of(again) == method
    check_same_data(again, data, "single")
    with pytest.raises(AnysizeError, match="single learns from the data that the model was fitted on, and yours"):
        check_same_data(again, Data("yours", "two"), "single")
    again.about = {}
    with pytest.raises(AnysizeError, match="does not say how it was made"):
        method_of(again)
    there = r"truncate \(usual\), pca \(usual\), single, original"
    with pytest.raises(AnysizeError, match=f"no rival called 'svd'; there are: {there}"):
        rival(again, "svd", data)
