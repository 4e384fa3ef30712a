from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from anysize.classify.heads import MRLHead, nested_cross_entropy
from anysize.core.errors import DataError, SizeError
from anysize.core.sizes import Nesting, Size

DIMS = (2, 4, 8)
KINDS = [(False, False), (True, False), (True, True)]


@pytest.fixture
def features():
    return torch.randn(7, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def head(efficient=False, per_dim_bias=False, dims=DIMS):
    torch.manual_seed(0)
    made = MRLHead(10, 5, dims, efficient=efficient, per_dim_bias=per_dim_bias).double()
    for bias in made.biases:  # so that a bias counted twice, or another size's, shows
        bias.data = torch.randn(5, dtype=torch.float64)
    return made


def plain(made: MRLHead, z: torch.Tensor, size: int) -> torch.Tensor:
    """The paper's definition, one size at a time."""
    place = made.dims.index(size)
    weight = made.weights[0][:, :size] if made.efficient else made.weights[place]
    bias = made.biases[place] if made.per_dim_bias or not made.efficient else made.biases[0]
    return z[:, :size] @ weight.T + bias


@pytest.mark.parametrize(("efficient", "per_dim_bias"), KINDS)
def test_logits_and_gradients_equal_the_definition(features, efficient, per_dim_bias):
    made = head(efficient, per_dim_bias)
    labels = torch.arange(7) % 5
    one, other = features.clone().requires_grad_(), features.clone().requires_grad_()
    logits = made(one)
    expected = [plain(made, other, size) for size in DIMS]
    for found, wanted in zip(logits, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    parameters = list(made.parameters())
    losses = [sum(functional.cross_entropy(out, labels) for out in outs) for outs in (logits, expected)]
    found = torch.autograd.grad(losses[0], [one, *parameters])
    wanted = torch.autograd.grad(losses[1], [other, *parameters])
    for gradient, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(("efficient", "per_dim_bias"), KINDS)
def test_sizes_asked_for_in_any_order(features, efficient, per_dim_bias):
    made = head(efficient, per_dim_bias)
    for asked in itertools.permutations(DIMS, 2):
        for size, found in zip(asked, made(features, asked), strict=True):
            torch.testing.assert_close(found, plain(made, features, size))


@pytest.mark.parametrize(("efficient", "per_dim_bias"), KINDS)
def test_a_prefix_of_the_features_is_enough(features, efficient, per_dim_bias):
    made = head(efficient, per_dim_bias)
    torch.testing.assert_close(made(features[:, :4], [2, 4])[1], plain(made, features, 4))
    with pytest.raises(DataError, match=r"have shape \(7, 3\); expected \(n, 10\), or their first 4"):
        made(features[:, :3], [2, 4])
    with pytest.raises(DataError, match=r"shape \(7, 20\)"):
        made(torch.cat([features, features], 1))


def test_parameters_are_as_many_as_the_paper_counts():
    def count(made):
        return sum(p.numel() for p in made.parameters())

    assert count(head()) == 5 * sum(DIMS) + 5 * 3
    assert count(head(efficient=True)) == 5 * 8 + 5
    assert count(head(efficient=True, per_dim_bias=True)) == 5 * 8 + 5 * 3


def test_one_size_is_a_linear_layer(features):
    torch.manual_seed(3)
    linear = torch.nn.Linear(8, 5)
    for efficient in (False, True):
        torch.manual_seed(3)
        made = MRLHead(10, 5, (8,), efficient=efficient)
        z = features.float()
        torch.testing.assert_close(made(z)[0], linear(z[:, :8]))


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"dims": (4, 2)}, SizeError, "2 comes after 4"),
        ({"dims": (4, 16)}, SizeError, "16 exceeds the 10 features"),
        ({"dims": ()}, SizeError, "lists no sizes"),
        ({"num_classes": 1}, DataError, "at least 2 classes"),
        ({"per_dim_bias": True}, SizeError, "per_dim_bias is for efficient=True"),
    ],
)
def test_impossible_heads(options, error, sentence):
    with pytest.raises(error, match=sentence):
        MRLHead(**{"in_features": 10, "num_classes": 5, "dims": DIMS, **options})


def test_a_size_that_the_head_lacks(features):
    with pytest.raises(SizeError, match="trained for dims 2, 4, 8"):
        head()(features, [3])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nested_cross_entropy_is_the_weighted_sum(features, reduction):
    made, nesting = head(), Nesting(dims=DIMS, weights=(1, 0.5, 2))
    labels = torch.arange(7) % 5
    found = nested_cross_entropy(made(features), labels, nesting, label_smoothing=0.1, reduction=reduction)
    single = [
        functional.cross_entropy(plain(made, features, size).float(), labels, label_smoothing=0.1) for size in DIMS
    ]
    total = single[0] + 0.5 * single[1] + 2 * single[2]
    torch.testing.assert_close(found.total, total / 3.5 if reduction == "mean" else total)
    torch.testing.assert_close(found[Size(dims=4)], single[1])


def test_nested_cross_entropy_of_some_sizes(features):
    nesting, labels = Nesting(dims=DIMS), torch.arange(7) % 5
    sizes = (Size(dims=2), Size(dims=8))
    found = nested_cross_entropy(head()(features, [2, 8]), labels, nesting, sizes=sizes)
    assert list(found.terms) == list(sizes)


@pytest.mark.parametrize("labels", [torch.zeros(7), torch.zeros(6, dtype=torch.int64), torch.zeros(7, 5).long()])
def test_labels_that_cannot_be_right(features, labels):
    with pytest.raises(DataError, match="expected int64, one for each of 7 rows"):
        nested_cross_entropy(head()(features), labels, Nesting(dims=DIMS))


def test_as_many_logits_as_sizes(features):
    with pytest.raises(SizeError, match="2 logits for 3 sizes"):
        nested_cross_entropy(head()(features, [2, 4]), torch.arange(7) % 5, Nesting(dims=DIMS))
