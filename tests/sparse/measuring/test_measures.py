"""Measures of reconstructions and representations, against plain formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, spearmanr

from anysize.core.errors import DataError
from anysize.sparse.measuring.alignment import cknna
from anysize.sparse.measuring.errors_of_rows import cosine, fvu, fvu_per_sample
from anysize.sparse.measuring.geometry import rsa
from anysize.sparse.measuring.probing import fit_probe, macro_f1, preserved

RNG = np.random.default_rng(0)


def test_error_shares_and_angles():
    x = RNG.standard_normal((50, 7)) + 3
    y = x + 0.1 * RNG.standard_normal((50, 7))
    total = sum(np.sum((row - x.mean(0)) ** 2) for row in x)
    assert fvu(x, y) == pytest.approx(sum(np.sum((a - b) ** 2) for a, b in zip(x, y, strict=True)) / total)
    each = [np.var(a - b) / np.var(a) for a, b in zip(x, y, strict=True)]
    assert fvu_per_sample(x, y) == pytest.approx(np.mean(each))
    angles = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, y, strict=True)]
    assert cosine(x, y) == pytest.approx(np.mean(angles))
    # A shift along the diagonal is invisible to the one and not to the other.
    assert fvu_per_sample(x, x + 1) == pytest.approx(0, abs=1e-12)
    assert fvu(x, x + 1) > 0.1
    with pytest.raises(DataError, match="shapes"):
        fvu(x, y[:-1])
    with pytest.raises(DataError, match="all rows are the same"):
        fvu(np.ones((4, 2)), np.ones((4, 2)))


def plain_hsic(k: torch.Tensor, other: torch.Tensor) -> float:
    """As public code has it, in O(n^3)."""
    m = len(k)
    k, other = k.clone().fill_diagonal_(0), other.clone().fill_diagonal_(0)
    value = (k * other.T).sum() + k.sum() * other.sum() / ((m - 1) * (m - 2)) - 2 * (k @ other).sum() / (m - 2)
    return float(value / (m * (m - 3)))


def plain_cknna(a: np.ndarray, b: np.ndarray, k: int) -> float:
    kernels, masks = [], []
    for part in (a, b):
        kernel = torch.from_numpy(part @ part.T)
        near = kernel.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices
        kernels.append(kernel)
        masks.append(torch.zeros_like(kernel).scatter_(1, near, 1))
    both = masks[0] * masks[1]
    cross = plain_hsic(both * kernels[0], both * kernels[1])
    own = [plain_hsic(mask * kernel, mask * kernel) for mask, kernel in zip(masks, kernels, strict=True)]
    return cross / (own[0] ** 0.5 * own[1] ** 0.5 + 1e-6)


@pytest.mark.parametrize("k", [3, 10])
def test_cknna_is_the_cubic_formula(k):
    a = RNG.standard_normal((80, 6))
    for b in (a, a[:, :4], a + RNG.standard_normal(a.shape), RNG.standard_normal((80, 30))):
        assert cknna(a, b, k) == pytest.approx(plain_cknna(a, b, k), abs=1e-5)
    assert cknna(a, a, k) == pytest.approx(1, abs=1e-4)
    assert cknna(a, a[:, :5], k) > cknna(a, RNG.standard_normal((80, 6)), k)
    with pytest.raises(DataError, match="at least"):
        cknna(a[:5], a[:5])


def test_rsa_is_the_rank_correlation_of_distances():
    a = RNG.standard_normal((40, 6))
    b = a @ RNG.standard_normal((6, 5)) + 0.1
    found = rsa(a, b, n=40, resamples=1)[0]
    upper = np.triu_indices(40, 1)
    distances = []
    for part in (a, b):
        angles = np.array([[p @ q / np.linalg.norm(p) / np.linalg.norm(q) for q in part] for p in part])
        distances.append((1 - angles)[upper])
    assert found == pytest.approx(spearmanr(*distances).statistic, abs=1e-4)
    assert kendalltau(*distances).statistic > 0
    assert rsa(a, a, n=30) == pytest.approx([1.0] * 5)
    with pytest.raises(DataError, match="at least three"):
        rsa(a[:2], b[:2])


def test_a_probe_survives_what_keeps_the_classes_apart():
    labels = np.repeat(["far", "near", "same"], 100)
    centres = np.eye(3)[np.repeat([0, 1, 2], 100)] * 4
    x = np.hstack([centres + RNG.standard_normal((300, 3)), RNG.standard_normal((300, 5))]).astype(np.float32)
    probe = fit_probe(x[::2], labels[::2], learning_rate=0.05, epochs=40)
    held, truth = x[1::2], labels[1::2]
    whole = preserved(probe, held, held, truth)
    assert whole.kl == pytest.approx(0, abs=1e-6)
    assert whole.agreement == 1
    assert whole.accuracy > 0.9
    kept, lost = held * ([1] * 3 + [0] * 5), held * ([0] * 3 + [1] * 5)
    good, bad = (preserved(probe, held, part.astype(np.float32), truth) for part in (kept, lost))
    assert good.agreement > 0.9 > bad.agreement
    assert good.kl < bad.kl
    # KL against its definition.
    p, q = probe.logits(held).double(), probe.logits(lost.astype(np.float32)).double()
    assert bad.kl == pytest.approx(float((p.exp() * (p - q)).sum(1).mean()), rel=1e-4)
    with pytest.raises(DataError, match="classes"):
        fit_probe(x, ["a"] * 300)


def test_macro_f1_is_scikit_learns():
    from sklearn.metrics import f1_score

    truth, said = torch.from_numpy(RNG.integers(0, 4, 200)), torch.from_numpy(RNG.integers(0, 4, 200))
    assert macro_f1(truth, said, 4) == pytest.approx(f1_score(truth, said, average="macro"))
