from __future__ import annotations

import warnings

import pytest
import torch
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.losses.prefix import nested_info_nce, prefix_similarities

DIMS = (3, 8, 20)


def rows(count, width=20, dtype=torch.float64, seed=0):
    return torch.randn(count, width, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def plain(queries, documents, dims, scale=20.0, weights=None, targets=None):
    """Slice, normalise, multiply, cross entropy: each size on its own."""
    targets = torch.arange(len(queries)) if targets is None else targets
    units = [(functional.normalize(queries[:, :k], dim=1), functional.normalize(documents[:, :k], dim=1)) for k in dims]
    return [
        weight * functional.cross_entropy(scale * q @ d.T, targets)
        for (q, d), weight in zip(units, weights or [1.0] * len(dims), strict=True)
    ]


def with_gradients(function, queries, documents, *arguments, outer=None, **options):
    q, d = queries.detach().requires_grad_(), documents.detach().requires_grad_()
    losses = torch.stack(function(q, d, *arguments, **options))
    losses.backward(torch.ones_like(losses) if outer is None else outer)
    return losses.detach(), q.grad, d.grad


def agree(ours, theirs, tolerance):
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.dtype == reference.dtype
        torch.testing.assert_close(mine, reference, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("scale", [1.0, 20.0, 200.0])
@pytest.mark.parametrize("documents", [6, 15])
def test_losses_and_gradients_equal_those_of_each_size_alone(dtype, tolerance, scale, documents):
    q, d = rows(6, dtype=dtype), rows(documents, dtype=dtype, seed=1)
    ours = with_gradients(nested_info_nce, q, d, DIMS, scale=scale)
    assert ours[1].abs().max() > 1e-3
    agree(ours, with_gradients(plain, q, d, DIMS, scale=scale), tolerance * max(1, scale / 20))


def test_large_batches_that_are_taken_in_parts_equal_each_size_alone():
    q, d = rows(700, dtype=torch.float32), rows(900, dtype=torch.float32, seed=1)
    agree(with_gradients(nested_info_nce, q, d, DIMS), with_gradients(plain, q, d, DIMS), 1e-5)


def test_a_document_far_below_the_best_one_has_a_finite_loss():
    q = torch.eye(4, 20)
    d = torch.cat([-q[:2], q[2:], q[:2]])
    ours = with_gradients(nested_info_nce, q, d, DIMS, scale=1000.0)
    assert ours[0][-1] > 500
    agree(ours, with_gradients(plain, q, d, DIMS, scale=1000.0), 1e-4)


def test_explicit_targets_choose_the_document_even_one_for_several_queries():
    q, d, targets = rows(6), rows(4, seed=1), torch.tensor([3, 3, 0, 1, 0, 3])
    ours = with_gradients(nested_info_nce, q, d, DIMS, targets=targets)
    agree(ours, with_gradients(plain, q, d, DIMS, targets=targets), 1e-10)


def test_weights_scale_values_and_gradients():
    q, d, weights = rows(5), rows(5, seed=1), [0.5, 0.0, 3.0]
    ours = with_gradients(nested_info_nce, q, d, DIMS, weights=weights)
    agree(ours, with_gradients(plain, q, d, DIMS, weights=weights), 1e-10)
    assert ours[0][1] == 0


@pytest.mark.parametrize("outer", [[1.0, 1.0, 1.0], [-2.0, -2.0, -2.0], [0.0, 0.0, 1.0], [1.0, -3.0, 0.5], [0.0] * 3])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
def test_any_combination_of_the_sizes_can_be_differentiated(outer, weights):
    q, d, outer = rows(5), rows(7, seed=1), torch.tensor(outer, dtype=torch.float64)
    ours = with_gradients(nested_info_nce, q, d, DIMS, weights=weights, outer=outer)
    agree(ours, with_gradients(plain, q, d, DIMS, weights=weights, outer=outer), 1e-10)


def test_gradients_pass_the_numerical_check():
    q, d = rows(3, 6).requires_grad_(), rows(5, 6, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, d: tuple(nested_info_nce(q, d, (2, 5), scale=5.0)), (q, d))
    assert torch.autograd.gradcheck(lambda q, d: tuple(prefix_similarities(q, d, (2, 5))), (q, d))


def test_zero_rows_and_zero_prefixes_give_no_nan_and_the_plain_gradients():
    q, d = rows(5), rows(6, seed=1)
    q[1], d[2], q[3, :8], d[0, :3] = 0, 0, 0, 0
    ours = with_gradients(nested_info_nce, q, d, DIMS)
    assert all(found.isfinite().all() for found in ours)
    theirs = with_gradients(plain, q, d, DIMS)
    # The norm's floor makes some slopes near 1e13: compare to their own magnitude.
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(ours[2], theirs[2], atol=1e-9, rtol=1e-9)


def test_nothing_flows_through_a_norm_below_its_floor():
    q, d = rows(4), rows(4, seed=1)
    q[1] *= 1e-14
    d[2] *= 1e-14
    q[3, :8] *= 1e-14
    ours, theirs = with_gradients(nested_info_nce, q, d, DIMS), with_gradients(plain, q, d, DIMS)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, atol=1e-9, rtol=1e-9)
    assert ours[1][1].abs().max() > 1e9


def test_rows_may_lie_anyhow_in_memory():
    q, d = rows(20, 12).T, rows(12, 40, seed=1)[:, ::2]
    assert not q.is_contiguous()
    assert not d.is_contiguous()
    agree(with_gradients(nested_info_nce, q, d, DIMS), with_gradients(plain, q, d, DIMS), 1e-10)


def test_coordinates_after_the_last_prefix_get_no_gradient():
    _, to_q, to_d = with_gradients(nested_info_nce, rows(4), rows(4, seed=1), (3, 8))
    assert to_q[:, :8].abs().min() > 0
    assert not to_q[:, 8:].any()
    assert not to_d[:, 8:].any()


def test_only_the_side_that_asks_gets_a_gradient():
    q, d = rows(4).requires_grad_(), rows(4, seed=1)
    sum(nested_info_nce(q, d, DIMS)).backward()
    torch.testing.assert_close(q.grad, with_gradients(plain, q, d, DIMS)[1])
    assert d.grad is None
    assert not nested_info_nce(q.detach(), d, DIMS)[0].requires_grad


def test_values_without_gradients_are_the_same():
    q, d = rows(6).requires_grad_(), rows(6, seed=1)
    trained = torch.stack(nested_info_nce(q, d, DIMS))
    with torch.no_grad():
        torch.testing.assert_close(torch.stack(nested_info_nce(q, d, DIMS)), trained.detach())


def test_half_precision_input_is_summed_in_float32_and_keeps_its_gradients_type():
    q, d = rows(6, dtype=torch.bfloat16).requires_grad_(), rows(6, dtype=torch.bfloat16, seed=1)
    with warnings.catch_warnings(), torch.autocast("cpu", dtype=torch.bfloat16):
        losses = nested_info_nce(q, d, DIMS)
    torch.testing.assert_close(
        torch.stack(losses), torch.stack(plain(q.float(), d.float(), DIMS)), atol=1e-5, rtol=1e-5
    )
    sum(losses).backward()
    assert q.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("normalize", [True, False])
def test_similarities_equal_those_of_each_size_alone(normalize):
    q, d = rows(4).requires_grad_(), rows(7, seed=1).requires_grad_()
    for size, found in zip(DIMS, prefix_similarities(q, d, DIMS, normalize=normalize), strict=True):
        a, b = (functional.normalize(x[:, :size], dim=1) if normalize else x[:, :size] for x in (q, d))
        torch.testing.assert_close(found, a @ b.T, atol=1e-12, rtol=1e-12)
        mine = torch.autograd.grad(found.sin().sum(), (q, d), retain_graph=True)
        agree(mine, torch.autograd.grad((a @ b.T).sin().sum(), (q, d)), 1e-10)


@pytest.mark.parametrize("dims", [(), (0, 4), (4, 4), (8, 4), (4, 21)])
def test_dims_must_grow_and_fit(dims):
    with pytest.raises(SizeError, match="must be increasing, from 1 to 20"):
        nested_info_nce(rows(3), rows(3), dims)


def test_refusals_say_what_was_given():
    with pytest.raises(SizeError, match="queries have 20 dimensions and documents 6"):
        prefix_similarities(rows(3), rows(3, 6), (3,))
    with pytest.raises(AnysizeError, match="5 queries but 3 documents"):
        nested_info_nce(rows(5), rows(3), (3,))
    with pytest.raises(SizeError, match="2 weights for 3 sizes"):
        nested_info_nce(rows(3), rows(3), DIMS, weights=[1.0, 2.0])
