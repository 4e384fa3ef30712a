import json

import numpy as np
import pytest
import torch

from anysize.classify import Classifier
from anysize.core.errors import CheckpointError, DataError, SizeError
from anysize.core.model import checkpoint
from anysize.core.model.battery import check_nested_model
from anysize.core.model.manifest import bytes_read, entries_at
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

KINDS = [{}, {"efficient": True}, {"efficient": True, "per_dim_bias": True}]
X = np.random.default_rng(0).standard_normal((6, 20)).astype(np.float32)


def classifier(**options):
    torch.manual_seed(1)
    return Classifier(Nesting(dims=(3, 8, 20)), 20, ["cat", "dog", "eel", "fox"], **options)


@pytest.mark.parametrize("options", KINDS)
def test_the_contract(options):
    model = classifier(**options)

    def plain(x):
        return torch.nn.functional.linear(torch.from_numpy(x), model.head.weights[-1], model.head.biases[-1])

    check_nested_model(model, X, plain=plain, shape=lambda size: (6, 4))


@pytest.mark.parametrize("options", KINDS)
def test_loading_at_a_size_reads_its_weights_only(options, tmp_path):
    model = classifier(**options)
    model.save(tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "anysize.json").read_text())
    small = Classifier.load(tmp_path / "m", dims=8)
    held = sum(tensor.nbytes for tensor in small.state_dict().values())
    size = Size(dims=8)
    keep = {name: 8 for name in model.nested_tensors()}
    assert bytes_read(entries_at(manifest, size), keep) == held
    expected = {0: 4 * (4 * 3 + 4 * 8 + 8), 1: 4 * (4 * 8 + 4), 2: 4 * (4 * 8 + 8)}[KINDS.index(options)]
    assert held == expected
    assert torch.allclose(small(X[:, :8]), model.at(dims=8)(X), atol=1e-6)


def test_a_damaged_head_matters_to_its_size_alone(tmp_path):
    classifier().save(tmp_path / "m")
    path = tmp_path / "m" / checkpoint.WEIGHTS
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    block = next(name for name in header if name.startswith("head.weights.2"))
    content[8 + length + header[block]["data_offsets"][0]] ^= 1
    path.write_bytes(content)
    Classifier.load(tmp_path / "m", dims=8)
    with pytest.raises(CheckpointError, match=r"head\.weights\.2"):
        Classifier.load(tmp_path / "m")


def test_predictions_are_classes():
    model = classifier()
    logits = model.at(dims=8)(X).detach().numpy()
    assert list(model.at(dims=8).predict(X)) == [model.classes[place] for place in logits.argmax(1)]
    found = model.at(dims=8).probabilities(X)
    assert found.shape == (6, 4)
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-5)


def test_labels_to_places():
    places = classifier().places(np.array(["fox", "cat"]))
    assert places.dtype == torch.int64
    assert places.tolist() == [3, 0]
    with pytest.raises(DataError, match="'gnu' is none of the 4 classes"):
        classifier().places(["gnu"])


def test_a_backbone_is_trained_but_not_saved(tmp_path):
    backbone = torch.nn.Linear(5, 20)
    model = classifier(backbone=backbone)
    inputs = torch.randn(6, 5)
    model(inputs).sum().backward()
    assert backbone.weight.grad is not None
    assert model.at(dims=3).backbone is backbone
    model.save(tmp_path / "m")
    loaded = Classifier.load(tmp_path / "m")
    assert loaded.backbone is None
    assert not any("backbone" in name for name in loaded.state_dict())
    loaded.backbone = backbone
    assert torch.allclose(loaded(inputs), model(inputs))
    assert torch.allclose(model.extract(dims=8)(inputs), model.at(dims=8)(inputs), atol=1e-6)


def test_costs():
    cost = classifier().at(dims=8).cost()
    assert (cost.bytes, cost.parameters, cost.flops) == (32, 4 * 8 + 4, 2 * 4 * 8)


def test_refusals():
    with pytest.raises(DataError, match="NaN"):
        classifier()(np.full((2, 20), np.nan, np.float32))
    with pytest.raises(DataError, match="named twice"):
        Classifier(Nesting(dims=(3,)), 3, ["a", "a"])
    with pytest.raises(SizeError, match="nested in dims; got layers"):
        Classifier(Nesting(layers=(3,)), 3, ["a", "b"])
