"""Items at sizes of their own, run together, give what each gives alone at its size."""

import itertools

import numpy as np
import pytest

from anysize.core.model.contract import NestedModel
from tests.conftest import sentences
from tests.kinds import models

VECTORS = ("embedder", "encoder", "task-encoder", "quantized-encoder")


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("side", [None, "query"])
def test_mixed_sizes_give_what_each_gives_alone(kind, side, encoder_path, lm_path):
    model: NestedModel = models(encoder_path, lm_path)[kind][0]().eval()
    texts = [" ".join(text.split()[: 1 + place]) for place, text in enumerate(sentences(5))]
    asked = list(itertools.product(texts, model.nesting))
    asked.append(asked[0])  # the same once more
    found = model.run_mixed([text for text, _ in asked], [size for _, size in asked], side=side)
    assert len(found) == len(asked)
    for (text, size), vector in zip(asked, found, strict=True):
        alone = model.at(size).run([text], side=side)[0]
        assert vector.shape == alone.shape
        np.testing.assert_allclose(vector, alone, atol=1e-5)


def test_one_item_alone_is_the_same_to_the_bit(encoder_path, lm_path):
    for kind in VECTORS:
        model: NestedModel = models(encoder_path, lm_path)[kind][0]().eval()
        for size in model.nesting:
            (found,) = model.run_mixed(sentences(1), [size], side="query")
            assert np.array_equal(found, model.at(size).run(sentences(1), side="query")[0]), (kind, size)


def test_kinds_that_share_no_work_run_once_a_size(encoder_path, lm_path):
    model, rows = models(encoder_path, lm_path)["classifier"]
    classifier = model()
    found = classifier.run_mixed(rows, [classifier.nesting[place % 2] for place in range(len(rows))])
    for place, output in enumerate(found):
        alone = classifier.at(classifier.nesting[place % 2]).run(rows[place : place + 1])[0]
        assert [one["label"] for one in output] == [one["label"] for one in alone]
