import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from anysize.classify import MRLHead, nested_cross_entropy
from anysize.core.errors import DataError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

DIMS = (3, 8, 20)


def features(n=7, width=20, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def plain(head, x):
    """Slice and multiply, size by size."""
    found = []
    for place, dims in enumerate(head.dims):
        weight = head.weights[0][:, :dims] if head.efficient else head.weights[place]
        bias = head.biases[place if head.per_dim_bias or not head.efficient else 0]
        found.append(x[:, :dims] @ weight.T + bias)
    return found


@pytest.mark.parametrize("options", [{}, {"efficient": True}, {"efficient": True, "per_dim_bias": True}])
def test_logits_and_gradients_are_those_of_each_prefix_alone(options):
    torch.manual_seed(0)
    head = MRLHead(20, 5, DIMS, **options).double()
    for bias in head.biases:  # a bias counted twice, or of another size, must show
        torch.nn.init.normal_(bias)
    x, pull = features().double().requires_grad_(), torch.randn(3, 7, 5).double()
    given = [x, *head.parameters()]
    ours, theirs = head(x), plain(head, x)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    gradients = [
        torch.autograd.grad(sum((a * b).sum() for a, b in zip(logits, pull, strict=True)), given)
        for logits in (ours, theirs)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_parameters():
    def count(**options):
        return sum(parameter.numel() for parameter in MRLHead(20, 5, DIMS, **options).parameters())

    assert count() == 5 * (3 + 8 + 20) + 3 * 5
    assert count(efficient=True) == 5 * 20 + 5
    assert count(efficient=True, per_dim_bias=True) == 5 * 20 + 3 * 5


def test_all_tied_sizes_cost_one_full_head():
    def flops(**options):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            MRLHead(20, 5, DIMS, **options)(features())
        return counter.get_total_flops()

    assert flops(efficient=True) == 2 * 7 * 5 * 20
    assert flops() == 2 * 7 * 5 * (3 + 8 + 20)


@pytest.mark.parametrize("efficient", [False, True])
def test_one_size_needs_only_its_prefix(efficient):
    head, x = MRLHead(20, 5, DIMS, efficient=efficient), features()
    assert torch.allclose(head(x[:, :8], [8])[0], head(x)[1], atol=1e-6)
    assert torch.allclose(head(x, [8, 3])[1], head(x)[0], atol=1e-6)  # as asked, in any order
    with pytest.raises(DataError, match=r"shape \(7, 8\); expected \(n, 20\), or their first 20"):
        head(x[:, :8])
    with pytest.raises(DataError, match="shape"):
        head(features(width=21))
    with pytest.raises(SizeError, match="trained for dims 3, 8, 20"):
        head(x, [5])


def test_a_head_that_cannot_be():
    with pytest.raises(SizeError, match="increasing"):
        MRLHead(20, 5, (8, 3))
    with pytest.raises(SizeError, match="size 21 exceeds the 20 features"):
        MRLHead(20, 5, (3, 21))
    with pytest.raises(DataError, match="at least 2 classes"):
        MRLHead(20, 1, DIMS)
    with pytest.raises(SizeError, match="per_dim_bias"):
        MRLHead(20, 5, DIMS, per_dim_bias=True)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nested_cross_entropy_is_the_weighted_sum(reduction):
    nesting = Nesting(dims=DIMS, weights=(1.0, 0.5, 2.0))
    logits, labels = MRLHead(20, 5, DIMS)(features()), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    found = nested_cross_entropy(logits, labels, nesting, label_smoothing=0.1, reduction=reduction)
    each = [functional.cross_entropy(one, labels, label_smoothing=0.1) for one in logits]
    total = each[0] + 0.5 * each[1] + 2 * each[2]
    assert torch.allclose(found.total, total / (3.5 if reduction == "mean" else 1))
    assert torch.allclose(found[Size(dims=8)], each[1])


def test_nested_cross_entropy_of_some_sizes():
    nesting = Nesting(dims=DIMS)
    labels, logits = torch.zeros(7, dtype=torch.int64), MRLHead(20, 5, DIMS)(features())
    found = nested_cross_entropy(logits[1:], labels, nesting, sizes=nesting[1:])
    assert torch.allclose(found.total, sum(functional.cross_entropy(one, labels) for one in logits[1:]))
    with pytest.raises(SizeError, match="2 logits for 3 sizes"):
        nested_cross_entropy(logits[1:], labels, nesting)


@pytest.mark.parametrize(
    "labels", [torch.zeros(7, dtype=torch.float16), torch.zeros(7, 1, dtype=torch.int64), torch.tensor([1])]
)
def test_labels_are_int64_rows(labels):
    with pytest.raises(DataError, match="expected int64, one for each of 7 rows"):
        nested_cross_entropy(MRLHead(20, 5, DIMS)(features()), labels, Nesting(dims=DIMS))
