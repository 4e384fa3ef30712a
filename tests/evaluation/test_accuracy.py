import numpy as np
import pytest

from anysize.classify import MRLClassifier
from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import DataError
from anysize.core.verbs.measure import measure
from tests.classify.test_fit import blobs


def labelled(seed, texts=None):
    x, y = blobs(seed=seed)
    ids = [str(row) for row in range(len(x))]
    return Data(f"blobs{seed}", f"{seed}", corpus=Items(ids, x, "vector"), labels=y.tolist())


def test_accuracy_at_every_size():
    model, held = MRLClassifier(dims=(4, 12), epochs=5).fit(labelled(0)), labelled(1)
    frontier = measure(model, held)
    assert frontier.metric == "accuracy"
    assert frontier.arms == ("nested",)
    for record in frontier.records:
        right = model.at(record.size).predict(held.corpus.vectors) == np.array(held.labels)
        assert record.metrics["accuracy"] == pytest.approx(right.mean())
        assert record.bytes == 4 * record.size.dims
        assert record.ms > 0
    small, large = frontier.records
    assert small.metrics["accuracy"] < large.metrics["accuracy"]


def test_refusals():
    model = MRLClassifier(dims=(4, 12), epochs=1).fit(labelled(0))
    with pytest.raises(DataError, match="was fitted on blobs0; measure it on other"):
        measure(model, labelled(0))
    with pytest.raises(DataError, match="nothing to measure a classifier by"):
        measure(model, Data("d", "x", corpus=labelled(1).corpus))
