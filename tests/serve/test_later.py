"""A package that came later, that of docs/plugin, is served without a change here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from anysize.core.data.read import read
from anysize.serve.held.house import House
from tests.serve.conftest import running

SOURCE = Path(__file__).parents[2] / "docs" / "plugin" / "src"


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.syspath_prepend(SOURCE)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "anysize_stages"]:
        del sys.modules[name]


def test_its_axis_is_a_field_and_its_model_is_run(plugin):
    from anysize_stages.method import Stages

    rows = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    model = Stages(entries=8, epochs=1).fit(read(rows))
    (axis,) = model.nesting.axes
    house = House()
    house.add("mine", model)
    with running(house) as client:
        for size in model.nesting:
            expected = model.at(size).run(rows[:3])
            body = {"input": rows[:3].tolist(), axis: size[axis]}
            found = client.ask("/v1/embeddings", body).json
            np.testing.assert_allclose([one["embedding"] for one in found["data"]], expected, atol=1e-6)
            assert found["size"] == str(size)
            ran = client.ask("/run", {"model": "mine", **body}).json
            np.testing.assert_allclose([one["output"] for one in ran["data"]], expected, atol=1e-6)
        client.ask("/v1/embeddings", {"input": rows[:1].tolist(), axis: 99}).refused(400, "size_not_trained", "99")
        client.ask("/v1/embeddings", {"input": rows[:1].tolist(), "dimensions": 4}).refused(400, "axis_unknown", axis)
        client.ask("/v1/embeddings", {"input": "a text"}).refused(400, "wrong_type", "reads vector")
        document = client.ask("/openapi.json").json["paths"]["/v1/embeddings"]["post"]
        assert axis in document["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert "/v1/chat/completions" not in client.ask("/openapi.json").json["paths"]
