from __future__ import annotations

import pytest
import torch

from anysize.sparse.autoencoder.ranks import strongest_first
from anysize.sparse.learning.kernels import StepSizes, encoded, level_errors
from anysize.sparse.learning.selecting import row_topk, select_batch, select_relu, select_topk
from tests.sparse import reference

N, D, F = 24, 5, 64
LATENTS = (8, 16, 40, 64)


def weights(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (D, F), "b_enc": (F,), "b_dec": (D,), "W_dec": (F, D)}
    made = {name: torch.randn(*shape, generator=generator, dtype=dtype) * 0.5 for name, shape in shapes.items()}
    return {name: tensor.requires_grad_() for name, tensor in made.items()}, torch.randn(
        N, D, generator=generator, dtype=dtype
    )


def gradients(total, held):
    return torch.autograd.grad(total, list(held.values()))


def centred(x, held):
    return x - held["b_dec"].detach()


def selected(x, held, kind, k):
    pieces = (centred(x, held), held["W_enc"], held["b_enc"])
    return select_relu(*pieces) if kind == "relu" else {"topk": select_topk, "batch": select_batch}[kind](*pieces, k)


def through_kernels(found, x, held, levels, **options):
    values = encoded(found.values, found.entries, centred(x, held), held["W_enc"], held["b_enc"], held["b_dec"])
    return level_errors(values, found.entries, levels, x, held["W_dec"], held["b_dec"], **options)


@pytest.mark.parametrize("kind", ["relu", "topk", "batch"])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_prefix_losses_and_gradients_are_those_of_plain_autograd(kind, detach, weighted):
    held, x = weights()
    row_weights = torch.rand(N, dtype=torch.float64) if weighted else None
    outer = torch.tensor([0.7, 0.1, 1.3, 1.0], dtype=torch.float64)
    pre = reference.pre_activations(x, held["W_enc"], held["b_enc"], held["b_dec"])
    z = {
        "relu": lambda: pre.clamp_min(0),
        "topk": lambda: reference.topk(pre, 6),
        "batch": lambda: reference.batchtopk(pre, 6),
    }
    wanted_errors = reference.prefix_errors(z[kind](), x, held["W_dec"], held["b_dec"], LATENTS, detach=detach)
    wanted = reference.losses(wanted_errors, row_weights)

    found = selected(x, held, kind, 6)
    levels = StepSizes.of(found.entries, found.entries.latents, LATENTS)
    errors = through_kernels(found, x, held, levels, row_weights=row_weights, detach=detach)
    torch.testing.assert_close(errors.losses, wanted)
    torch.testing.assert_close(errors.last, wanted_errors[-1].detach())
    torch.testing.assert_close(gradients(errors.losses @ outer, held), gradients(wanted @ outer, held))


def test_rank_losses_and_gradients_are_those_of_plain_autograd():
    held, x = weights(1)
    active = (2, 4, 16, 64)
    pre = reference.pre_activations(x, held["W_enc"], held["b_enc"], held["b_dec"])
    wanted = reference.losses(reference.rank_errors(pre, x, held["W_dec"], held["b_dec"], active))
    found = selected(x, held, "topk", 64)
    order, rank = strongest_first(found.entries.rows, found.values, N)
    found = found.kept(order)
    errors = through_kernels(found, x, held, StepSizes.of(found.entries, rank, active))
    torch.testing.assert_close(errors.losses, wanted)
    torch.testing.assert_close(gradients(errors.losses.sum(), held), gradients(wanted.sum(), held))


@pytest.mark.parametrize("slice_", [1 << 22, 3 * F, 5 * N])
@pytest.mark.parametrize("k", [1, 6, 40, 64])
def test_selections_are_exact(monkeypatch, slice_, k):
    monkeypatch.setattr(
        "anysize.sparse.learning.selecting._SLICE", slice_
    )  # in one piece, and three rows or latents at a time
    monkeypatch.setattr("anysize.sparse.learning.selecting._BLOCK", slice_)
    held, x = weights(2)
    with torch.no_grad():
        pre = reference.pre_activations(x, held["W_enc"], held["b_enc"], held["b_dec"])
        for kind, wanted in (("topk", reference.topk(pre, k)), ("batch", reference.batchtopk(pre, k))):
            found = selected(x, held, kind, k)
            dense = torch.zeros_like(pre)
            dense[found.entries.rows, found.entries.latents] = found.values
            torch.testing.assert_close(dense, wanted)
            assert len(found.values) == int((wanted > 0).sum())
            assert bool((found.entries.rows.diff() >= 0).all())


@pytest.mark.parametrize("margin", [1.5, 0.2])
def test_a_bound_that_is_too_high_is_noticed(monkeypatch, margin):
    monkeypatch.setattr("anysize.sparse.learning.selecting._MARGIN", margin)
    monkeypatch.setattr("anysize.sparse.learning.selecting._LOOK", 2)
    held, x = weights(3)
    pre = reference.pre_activations(x, held["W_enc"], held["b_enc"], held["b_dec"]).detach()
    found = selected(x, held, "batch", 6)
    assert len(found.values) == 6 * N
    torch.testing.assert_close(found.values.min(), pre.reshape(-1).topk(6 * N).values.min())


@pytest.mark.parametrize(("width", "active"), [(4096, 3), (1024, 30), (96, 2), (97, 5), (8, 8)])
def test_two_short_selections_give_the_long_one(width, active):
    pre = torch.randn(7, width, generator=torch.Generator().manual_seed(4))
    values, places = row_topk(pre, active)
    torch.testing.assert_close(values.sort(dim=1).values, pre.topk(active).values.sort(dim=1).values)
    torch.testing.assert_close(pre.gather(1, places), values)


def test_nothing_selected_leaves_the_bias_alone():
    held, x = weights(5)
    with torch.no_grad():
        held["b_enc"].fill_(-1e3)
    found = selected(x, held, "topk", 6)
    assert len(found.values) == 0
    errors = through_kernels(found, x, held, StepSizes.of(found.entries, found.entries.latents, LATENTS))
    got = gradients(errors.losses.sum(), held)
    torch.testing.assert_close(got[2], 2 * 4 * (held["b_dec"] - x).sum(0).detach() / (N * D))
    assert all(bool((gradient == 0).all()) for gradient in (got[0], got[1], got[3]))
