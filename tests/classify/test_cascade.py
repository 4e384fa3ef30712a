import itertools

import numpy as np
import pytest
import torch

from anysize.classify import AdaptiveClassifier, Classifier
from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from tests.conftest import flips

DIMS = (2, 4, 16)


def example(n=300, classes=6, seed=0):
    """Probabilities that grow more reliable with size, and the labels."""
    random = np.random.default_rng(seed)
    y = random.integers(classes, size=n)
    found = []
    for strength in (1.0, 2.0, 3.0):
        logits = random.standard_normal((n, classes)) + strength * np.eye(classes)[y]
        found.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    return found, y


def plain_exits(probabilities, dims, thresholds):
    """The cascade one row at a time."""
    labels, exits = [], []
    for row in range(len(probabilities[0])):
        for place, size in enumerate(dims):
            p = list(probabilities[place][row])
            if place == len(dims) - 1 or max(p) > thresholds[place]:
                labels.append(p.index(max(p)))
                exits.append(size)
                break
    return labels, exits


def plain_paper(probabilities, y):
    """The official search, one pair, one threshold and one row at a time."""
    found = []
    for small, large in itertools.pairwise(probabilities):
        best, best_right = None, -1
        for t in np.linspace(0.1, 1, 100):
            right = 0
            for row in range(len(y)):
                used = small if small[row].max() > t else large
                right += used[row].argmax() == y[row]
            if right > best_right:
                best, best_right = t, right
        found.append(best)
    return found


def test_decisions_equal_the_plain_cascade():
    probabilities, y = example()
    cascade = AdaptiveClassifier(DIMS).fit_thresholds(probabilities, y, method="paper")
    other, _ = example(seed=1)
    labels, exits = plain_exits(other, DIMS, cascade.thresholds)
    found = cascade.decide(other)
    assert found.labels.tolist() == labels
    assert found.dims.tolist() == exits
    assert len(set(exits)) > 1
    assert cascade.expected_dims(other) == pytest.approx(np.mean(exits))
    assert cascade.expected_dims() == pytest.approx(cascade.decide(probabilities).dims.mean())


def test_the_papers_thresholds():
    probabilities, y = example()
    cascade = AdaptiveClassifier(DIMS).fit_thresholds(probabilities, y, method="paper")
    assert cascade.thresholds == pytest.approx(plain_paper(probabilities, y))


@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_the_budget_is_the_cheapest_shared_threshold_within_its_bound(tolerance, margin):
    probabilities, y = example()
    cascade = AdaptiveClassifier(DIMS).fit_thresholds(probabilities, y, tolerance=tolerance, margin=margin)
    full = [int(p.argmax() == truth) for p, truth in zip(probabilities[-1], y, strict=True)]
    best, cost = 1.0, DIMS[-1]
    for value in np.linspace(0.1, 1, 100):
        labels, exits = plain_exits(probabilities, DIMS, [value, value])
        lost = [right - (label == truth) for right, label, truth in zip(full, labels, y, strict=True)]
        mean = sum(lost) / len(lost)
        error = (sum((one - mean) ** 2 for one in lost) / len(lost) / len(lost)) ** 0.5
        if mean + margin * error <= tolerance and np.mean(exits) < cost:
            best, cost = value, np.mean(exits)
    assert cascade.thresholds == pytest.approx((best, best))
    assert cascade.expected_dims() == pytest.approx(cost)
    assert (tolerance, margin) == (0.0, 1.0) or cost < DIMS[-1]


def test_more_tolerance_and_less_margin_cost_no_more():
    probabilities, y = example()
    fit = AdaptiveClassifier(DIMS).fit_thresholds
    costs = [fit(probabilities, y, tolerance=t).expected_dims() for t in (0, 0.05, 1)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == DIMS[0]
    costs = [fit(probabilities, y, tolerance=0.05, margin=m).expected_dims() for m in (4, 1, 0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_a_small_size_that_is_never_right_is_never_used():
    _, y = example()
    wrong = np.roll(np.eye(6)[y], 1, axis=1)
    cascade = AdaptiveClassifier((2, 16)).fit_thresholds([wrong, np.eye(6)[y]], y)
    assert cascade.thresholds == (1.0,)
    assert cascade.expected_dims() == 16


def test_caps():
    probabilities, y = example()
    cascade = AdaptiveClassifier(DIMS).fit_thresholds(probabilities, y)
    report = cascade.caps(probabilities, y)
    for place, row in enumerate(report, start=1):
        labels, exits = plain_exits(probabilities[:place], DIMS[:place], cascade.thresholds)
        assert row.cap == DIMS[place - 1]
        assert row.expected_dims == pytest.approx(np.mean(exits))
        assert row.accuracy == pytest.approx(np.mean(np.array(labels) == y))
    assert len(report) == 3


def test_predicting_runs_each_row_only_as_far_as_it_goes(monkeypatch):
    torch.manual_seed(0)
    model = Classifier(Nesting(dims=DIMS), 16, list("abcdef"), efficient=True).eval()
    x = 3 * torch.randn(200, 16)
    y = torch.randint(6, (200,)).numpy()
    probabilities = [model.at(size).probabilities(x) for size in model.nesting]
    cascade = AdaptiveClassifier(DIMS, model)
    cascade.thresholds = (0.45, 0.5)
    rows = []
    original = Classifier.probabilities
    monkeypatch.setattr(Classifier, "probabilities", lambda self, z: rows.append(len(z)) or original(self, z))
    found = cascade.predict(x)
    labels, exits = plain_exits(probabilities, DIMS, cascade.thresholds)
    assert found.labels.tolist() == labels
    assert found.dims.tolist() == exits
    assert rows == [200, sum(size > 2 for size in exits), sum(size > 4 for size in exits)]
    assert 200 > rows[1] > rows[2] > 0
    assert found.labels.dtype == np.int64
    assert y.shape == found.labels.shape


def test_saving(tmp_path):
    probabilities, y = example()
    cascade = AdaptiveClassifier(DIMS).fit_thresholds(probabilities, y)
    cascade.save(tmp_path / "cascade.json")
    loaded = AdaptiveClassifier.load(tmp_path / "cascade.json")
    assert (loaded.dims, loaded.thresholds) == (cascade.dims, cascade.thresholds)
    assert loaded.expected_dims() == cascade.expected_dims()
    (tmp_path / "other.json").write_text('{"kind": "index"}')
    with pytest.raises(CheckpointError, match="not a cascade"):
        AdaptiveClassifier.load(tmp_path / "other.json")
    (tmp_path / "other.json").write_text(
        '{"kind": "cascade", "format": 1, "dims": [2, 4], "thresholds": [], "expected_dims": 2}'
    )
    with pytest.raises(CheckpointError, match="0 thresholds for 2 sizes"):
        AdaptiveClassifier.load(tmp_path / "other.json")


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    cascade = AdaptiveClassifier(DIMS).fit_thresholds(*example())
    path = tmp_path / "cascade.json"
    cascade.save(path)
    refused = []
    for _ in flips(path, 10_000):
        try:
            loaded = AdaptiveClassifier.load(path)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        assert (loaded.dims, loaded.thresholds) == (cascade.dims, cascade.thresholds)
        assert loaded.expected_dims() == cascade.expected_dims()
    assert all(str(path) in said for said in refused)
    assert len(refused) > 0.9 * len(path.read_bytes())
    for wrong in ('"dims": [2]', '"dims": [2, 4], "thresholds": 5', '"dims": [2, 4], "thresholds": [null]'):
        path.write_text('{"kind": "cascade", "format": 1, ' + wrong + "}")
        with pytest.raises(CheckpointError, match="cannot be read as a cascade"):
            AdaptiveClassifier.load(path)


def test_refusals(tmp_path):
    probabilities, y = example()
    with pytest.raises(AnysizeError, match="no thresholds yet"):
        AdaptiveClassifier(DIMS).decide(probabilities)
    with pytest.raises(AnysizeError, match="no thresholds yet"):
        AdaptiveClassifier(DIMS).save(tmp_path / "c.json")
    with pytest.raises(SizeError, match="increasing"):
        AdaptiveClassifier((4, 2))
    fit = AdaptiveClassifier(DIMS).fit_thresholds
    with pytest.raises(DataError, match="2 arrays of probabilities for 3 sizes"):
        fit(probabilities[:2], y)
    with pytest.raises(DataError, match="dims=4 have shape"):
        fit([probabilities[0], probabilities[1][:9], probabilities[2]], y)
    with pytest.raises(DataError, match="dims=2 are not probabilities"):
        fit([5 * p for p in probabilities], y)
    with pytest.raises(DataError, match="whole numbers, one for each row"):
        fit(probabilities, y.astype(np.float16))
    with pytest.raises(AnysizeError, match="no way to find"):
        fit(probabilities, y, method="best")
    with pytest.raises(AnysizeError, match="at least 0"):
        fit(probabilities, y, tolerance=-0.1)
    with pytest.raises(AnysizeError, match="no classifier"):
        AdaptiveClassifier(DIMS).predict(np.zeros((1, 16)))
