from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import anysize as az
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.vision.encoder.heads import ClassHead
from tests.tiny_vision import write_folder


@pytest.mark.parametrize("labels", ["cosine", "linear"])
def test_the_loss_is_that_of_a_classifier_at_every_prefix(labels):
    torch.manual_seed(0)
    head = ClassHead(torch.randn(8, 6), 3, Nesting(dims=(2, 8)), 7.0, labels)
    with torch.no_grad():
        head.biases.normal_()
    vectors, classes = torch.randn(5, 6), torch.tensor([0, 1, 2, 1, 0])
    wanted = []
    for place, size in enumerate((2, 8)):
        z, rows = (vectors @ head.weight.T)[:, :size], head.rows[:, :size]
        if labels == "cosine":
            logits = 7 * functional.normalize(z, dim=1) @ functional.normalize(rows, dim=1).T
        else:
            logits = z @ rows.T + head.biases[place]
        wanted.append(functional.cross_entropy(logits, classes))
    found = head(vectors, classes.float())["loss"]
    torch.testing.assert_close(found, torch.stack(wanted).mean())


def accuracy(frontier, arm):
    return {record.size["dims"]: record.metrics["accuracy"] for record in frontier.arm(arm)}


@pytest.mark.parametrize("labels", ["cosine", "linear"])
def test_labels_make_short_prefixes_better_than_principal_ones(photos, tower_path, tmp_path, labels, anysize):
    out = tmp_path / "seer"
    said = anysize("fit", photos, "--method", "mrl", "--model", tower_path, "--dims", "2,24", "--labels", labels,
                   "--epochs", "150", "--learning-rate", "0.01", "--out", out)  # fmt: skip
    assert said.status == 0, said
    model = az.load(out)
    assert model.kind == "image-encoder"
    assert model.about["learnt_from"] == "pictures of 3 classes"
    other = write_folder(tmp_path / "other", 60, seed=9)
    frontier = az.measure(model, other, arms=("truncate", "pca"), k=5, by="knn")
    nested = accuracy(frontier, "nested")
    assert nested[2] > accuracy(frontier, "truncate")[2] + 0.15, frontier.table()
    assert set(accuracy(frontier, "pca")) == {2, 24}
    seen = az.measure(model, photos, by="knn", arms=())
    assert 0 < int(seen.meta["task"].split(" of ")[1].split()[0]) < 30  # what was left out


def test_pictures_without_labels_keep_their_neighbourhoods(tower_path, tmp_path):
    plain = write_folder(tmp_path / "plain", 40, labelled=False)
    model = az.fit(plain, method="mrl", model=tower_path, dims=(4, 24), epochs=30)
    assert model.about["learnt_from"] == "pictures"
    frontier = az.measure(model, plain, by="neighbours", arms=("truncate",), k=5)
    kept = {record.size["dims"]: record.metrics["neighbours@5"] for record in frontier.arm("nested")}
    cut = {record.size["dims"]: record.metrics["neighbours@5"] for record in frontier.arm("truncate")}
    assert kept[24] > 0.9
    assert kept[4] > cut[4]


def test_what_it_cannot_learn_from_is_told(tower_path, tmp_path, photos):
    with pytest.raises(AnysizeError, match="--method franca"):
        az.fit(photos, method="mrl", model=tower_path, tune="full")
    with pytest.raises(AnysizeError, match="name the model to start from"):
        az.fit(photos, method="mrl")
    with pytest.raises(AnysizeError, match="dims=32 exceeds the model"):
        az.fit(photos, method="mrl", model=tower_path, dims=(8, 32))
    alone = write_folder(tmp_path / "alone" / "deep", 4, labelled=False)
    with pytest.raises(DataError, match="all pictures are 'deep'"):
        az.fit(alone.parent, method="mrl", model=tower_path)


def test_the_same_seed_gives_the_same_head(photos, tower_path):
    one, other = (az.fit(photos, method="mrl", model=tower_path, dims=(4, 24), epochs=2) for _ in range(2))
    np.testing.assert_array_equal(one.weight.numpy(), other.weight.numpy())
