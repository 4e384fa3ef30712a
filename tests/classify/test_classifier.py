from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from anysize.classify.classifier import Classifier
from anysize.core.checkpoint import bytes_read
from anysize.core.errors import DataError, SizeError
from anysize.core.model import entries_at
from anysize.core.sizes import Nesting
from anysize.core.testing import check_nested_model

NESTING = Nesting(dims=(2, 4, 8))
CLASSES = ("cat", "dog", "emu")
KINDS = [{}, {"efficient": True}, {"efficient": True, "per_dim_bias": True}]


def made(**options) -> Classifier:
    torch.manual_seed(0)
    return Classifier(NESTING, 10, CLASSES, **options).eval()


@pytest.fixture
def features():
    return torch.randn(6, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", KINDS)
def test_keeps_every_promise_of_a_nested_model(features, options):
    model = made(**options)
    bias = model.head.biases[-1]
    check_nested_model(
        model,
        features,
        plain=lambda x: torch.nn.functional.linear(x[:, :8], model.head.weights[-1], bias),
        shape=lambda size: (6, 3),
    )


@pytest.mark.parametrize("options", KINDS)
def test_loading_at_a_size_reads_less(tmp_path, options):
    model = made(**options)
    model.save(tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "anysize.json").read_text())
    read = [
        bytes_read(entries_at(manifest, size), {name: size.dims for name in model.nested_tensors()}) for size in NESTING
    ]
    assert read[0] < read[1] < read[2] == sum(p.nbytes for p in model.parameters())


def test_predict_names_classes(features):
    model = made()
    for size in NESTING:
        best = model.at(size)(features).argmax(1)
        assert model.at(size).predict(features).tolist() == [CLASSES[place] for place in best]
        assert np.allclose(model.at(size).probabilities(features).sum(1), 1, atol=1e-6)


def test_a_stored_prefix_is_enough(features):
    model = made()
    assert torch.equal(model.at(dims=4)(features[:, :4]), model.at(dims=4)(features))
    with pytest.raises(DataError, match=r"have shape \(6, 4\)"):
        model(features[:, :4])


def test_places_are_those_of_the_logits():
    assert made().places(["emu", "cat"]).tolist() == [2, 0]
    with pytest.raises(DataError, match="'yak' is none of the 3 classes"):
        made().places(["yak"])


def test_features_must_be_finite(features):
    features[0, 0] = float("nan")
    with pytest.raises(DataError, match="NaN or infinite"):
        made()(features)


def test_impossible_classifiers():
    with pytest.raises(DataError, match="named twice"):
        Classifier(NESTING, 10, ("cat", "cat"))
    with pytest.raises(SizeError, match="nested in dims; got layers"):
        Classifier(Nesting(layers=(1, 2)), 10, CLASSES)
    with pytest.raises(SizeError, match="exceeds the 4 features"):
        Classifier(NESTING, 4, CLASSES)


def test_a_backbone_is_trained_but_not_saved(features, tmp_path):
    backbone = torch.nn.Linear(3, 10)
    model = made(backbone=backbone)
    inputs = torch.randn(6, 3)
    model(inputs).sum().backward()
    assert backbone.weight.grad is not None
    model.save(tmp_path / "model")
    loaded = Classifier.load(tmp_path / "model")
    assert torch.equal(loaded(backbone(inputs)), model(inputs))
    loaded.backbone = backbone
    assert torch.equal(loaded(inputs), model(inputs))
    assert torch.equal(model.extract(dims=4)(inputs), model.at(dims=4)(inputs))
