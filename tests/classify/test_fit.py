import numpy as np
import pytest
import torch

from anysize.classify import Classifier, MRLClassifier, fit_classifier
from anysize.classify.fit import default_dims
from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError
from anysize.core.registry import find
from anysize.core.verbs.load import load


def blobs(n=240, seed=0, scale=1.0):
    """Four classes of which two tell apart by the first 4 features, all by 12."""
    random = np.random.default_rng(seed)
    y = random.integers(4, size=n)
    x = random.standard_normal((n, 12))
    x[:, 0] += 5 * (y % 2)
    x[:, 8] += 5 * (y // 2)
    return (scale * x).astype(np.float32), y


def accuracies(scale=1.0, **options):
    x, y = blobs(scale=scale)
    held, truth = blobs(seed=1, scale=scale)
    model = fit_classifier(x, y, (4, 12), batch_size=32, **options)
    return [np.mean(model.at(size).predict(held) == truth) for size in model.nesting]


@pytest.mark.parametrize("options", [{}, {"efficient": True, "per_dim_bias": True}])
@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_every_size_learns_what_it_can_see_at_any_scale(options, scale):
    small, large = accuracies(scale, **options)
    assert 0.4 < small < 0.6
    assert large > 0.93


def test_one_shared_bias_cannot_serve_all_sizes_of_features_that_are_not_centred():
    shared, own = accuracies(efficient=True)[1], accuracies(efficient=True, per_dim_bias=True)[1]
    assert shared < own - 0.1


def test_equal_seeds_give_equal_models_and_leave_the_global_state_alone():
    x, y = blobs()
    state = torch.random.get_rng_state()
    first, again, other = (fit_classifier(x, y, (4, 12), epochs=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_labels_of_words_and_the_default_sizes():
    x, y = blobs()
    model = fit_classifier(x, [f"class {label}" for label in y], epochs=1)
    assert model.classes == ("class 0", "class 1", "class 2", "class 3")
    assert model.nesting.values("dims") == (8, 12)
    assert default_dims(64) == (8, 16, 32, 64)
    assert default_dims(5) == (5,)


def test_the_registered_method(tmp_path):
    x, y = blobs()
    data = Data("blobs", "f" * 64, corpus=Items([str(i) for i in range(len(x))], x, "vector"), labels=y.tolist())
    model = MRLClassifier(dims=(4, 12), epochs=2).fit(data)
    assert model.about["data"] == {"name": "blobs", "fingerprint": "f" * 64}
    assert model.about["options"]["dims"] == [4, 12]
    model.save(tmp_path / "m")
    assert np.array_equal(Classifier.load(tmp_path / "m", dims=4).predict(x), model.at(dims=4).predict(x))


def test_registered_names(tmp_path):
    assert find("methods", "mrl-classifier") is MRLClassifier
    x, y = blobs()
    fit_classifier(x, y, epochs=1).save(tmp_path / "m")
    assert isinstance(load(tmp_path / "m"), Classifier)


def test_refusals(tmp_path):
    x, y = blobs()
    with pytest.raises(DataError, match="has no labels"):
        MRLClassifier().fit(Data("d", "", corpus=Items(["a"], x[:1], "vector")))
    texts = Data("d", "", corpus=Items(["a", "b"], ["x", "y"]), labels=["p", "q"])
    with pytest.raises(DataError, match="holds texts; name a saved anysize model"):
        MRLClassifier().fit(texts)
    fit_classifier(x, y, epochs=1).save(tmp_path / "m")
    with pytest.raises(DataError, match="239 labels for 240 rows"):
        fit_classifier(x, y[1:])
    with pytest.raises(DataError, match="finite numbers"):
        fit_classifier(np.full_like(x, np.inf), y)
    with pytest.raises(DataError, match="at least 2 classes"):
        fit_classifier(x, np.zeros_like(y))
    with pytest.raises(AnysizeError, match="epochs must be above zero"):
        fit_classifier(x, y, epochs=0)
    with pytest.raises(AnysizeError, match="label-smoothing"):
        fit_classifier(x, y, label_smoothing=1.0)
    with pytest.raises(AnysizeError, match="belong to the method"):
        fit_classifier(x, y, method=MRLClassifier(), epochs=1)
