from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

import anysize as az
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.vision import ImageEncoder
from anysize.vision.measuring.clustering import k_means, logistic, votes
from anysize.vision.splitting import left_out
from tests.tiny_vision import shapes, tiny_tower, write_folder, write_masks


def drawn(n=60, d=4, seed=0):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, n)
    return (draw.standard_normal((n, d)) + 2.5 * np.eye(3, d)[labels]).astype(np.float32), labels


def test_k_means_is_as_tight_as_that_of_scikit_learn():
    rows, _ = drawn()
    places = k_means(torch.from_numpy(rows), 5, restarts=5).numpy()
    within = sum(((rows[places == one] - rows[places == one].mean(0)) ** 2).sum() for one in range(5))
    assert within <= 1.02 * KMeans(5, n_init=10, random_state=0).fit(rows).inertia_
    assert k_means(torch.ones(3, 2), 5).max() < 3


def test_the_linear_probe_is_a_regularised_regression():
    rows, labels = drawn()
    fit, judged = rows[:40], rows[40:]
    mean, spread = fit.mean(0), fit.std(0)
    found = logistic(torch.from_numpy(fit), torch.eye(3)[torch.from_numpy(labels[:40])], torch.from_numpy(judged), 0.02)
    theirs = LogisticRegression(C=1 / (0.02 * 40), max_iter=1000).fit((fit - mean) / spread, labels[:40])
    wanted = theirs.predict_proba((judged - mean) / spread)
    np.testing.assert_allclose(torch.softmax(found, 1).numpy(), wanted, atol=2e-3)


def test_votes_fade_with_the_cosine_and_leave_out_oneself():
    rows, labels = drawn()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    said = votes(
        torch.from_numpy(rows), torch.from_numpy(rows), torch.eye(3)[torch.from_numpy(labels)], k=7, temperature=0.07,
        itself=torch.arange(60),
    ).numpy()  # fmt: skip
    for row in (0, 33):
        scores = rows @ rows[row]
        scores[row] = -9
        best = np.argsort(-scores)[:7]
        wanted = np.zeros(3)
        for one in best:
            wanted[labels[one]] += np.exp(scores[one] / 0.07)
        np.testing.assert_allclose(said[row] / said[row].sum(), wanted / wanted.sum(), atol=1e-5)


@pytest.fixture(scope="module")
def model():
    return ImageEncoder(Nesting(dims=(4, 24)), tiny_tower()).eval()


def test_pictures_are_measured_by_their_labels_at_every_size(model, photos):
    data = az.read(photos)
    vectors = model.encode(data.items().rows)
    labels = np.array(data.labels)
    for size in (4, 24):
        cut = vectors[:, :size] / np.linalg.norm(vectors[:, :size], axis=1, keepdims=True)
        scores = cut @ cut.T
        np.fill_diagonal(scores, -9)
        right = np.mean(labels[scores.argmax(1)] == labels)
        found = az.measure(model.at(dims=size), photos, by="knn", arms=(), sizes=[model.at(dims=size).size], k=1)
        assert found.records[0].metrics["accuracy"] == pytest.approx(right)
    linear = az.measure(model, photos, by="linear", arms=())
    assert linear.meta["task"].startswith(f"linear probing of {left_out(data.items()).sum()} pictures among 60")
    assert all(0 <= one.metrics["accuracy"] <= 1 for one in linear.records)
    pure = az.measure(model, photos, by="clusters", arms=("pca",))
    assert pure.metric == "purity"
    assert {one.arm for one in pure.records} == {"nested", "pca"}
    many = az.measure(model, photos, by="clusters", arms=(), k=60)
    assert many.records[0].metrics["purity"] == 1  # a cluster for each picture


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_patches_are_measured_by_masks(model, tmp_path, head):
    folder = write_masks(tmp_path / "roads")
    found = az.measure(model, folder, by="segmentation", arms=("pca",), head=head)
    assert found.metric == "miou"
    assert "2 classes" in found.meta["task"]
    whole = found.arm("nested")[-1].metrics
    assert whole["miou"] > 0.75, found.table()
    assert whole["point_accuracy"] > whole["miou"]
    # What is said of everything being the commoner class: half of the points, and nothing of the other.
    assert whole["miou"] > 0.3


def test_what_cannot_be_measured_is_told(model, tmp_path, photos):
    one = write_folder(tmp_path / "one" / "deep", 8, labelled=False).parent
    with pytest.raises(DataError, match="are all of one class"):
        az.measure(model, one, by="knn")
    plain = write_folder(tmp_path / "plain", 8, labelled=False)
    with pytest.raises(DataError, match="knn needs pictures of two classes"):
        az.measure(model, plain, by="knn")
    with pytest.raises(DataError, match="segmentation needs a table with the columns image and mask"):
        az.measure(model, photos, by="segmentation")
    with pytest.raises(AnysizeError, match="expects one of linear, knn"):
        az.measure(model, photos, by="segmentation", head="mlp")
    folder = write_masks(tmp_path / "roads", 3)
    Image.fromarray(shapes(1)[0]).save(folder / "images" / "1-mask.png")
    with pytest.raises(DataError, match=r"1-mask\.png has shape \(20, 20, 3\) of uint8; expected one class number"):
        az.measure(model, folder, by="segmentation")
    with pytest.raises(AnysizeError, match="trained from scratch"):
        az.measure(model, photos, by="knn", arms=("truncate",))


def test_the_page_shows_neighbours_and_maps(photos, tower_path, tmp_path, anysize):
    flat = tmp_path / "flat"
    assert anysize("fit", photos, "--method", "rasa", "--model", tower_path, "--planes", "1", "--out", flat).status == 0
    page = tmp_path / "seer.html"
    said = anysize("measure", flat, photos, "--by", "knn", "--html", page)
    assert said.status == 0, said
    content = page.read_text()
    assert "The nearest pictures at each size" in content
    assert "Clusters of patches" in content
    assert content.count("data:image/jpeg") > 20
    assert "http" not in content.split("<body")[1].replace("http://www.w3.org", "")
