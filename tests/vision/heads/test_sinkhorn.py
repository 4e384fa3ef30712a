from __future__ import annotations

import pytest
import torch

from anysize.core.errors import AnysizeError
from anysize.vision import SinkhornQueue, sinkhorn_knopp
from tests.processes import together


def plain(scores, temperature, n_iters=3):
    """Three passes over the matrix, as SwAV and Franca write it, in float64."""
    q = torch.exp(scores.double() / temperature).T
    q /= q.sum()
    for _ in range(n_iters):
        q /= q.sum(1, keepdim=True)
        q /= len(q)
        q /= q.sum(0, keepdim=True)
        q /= q.shape[1]
    return (q * q.shape[1]).T


def drawn(samples=24, prototypes=10, spread=1.0, seed=0):
    return torch.randn(samples, prototypes, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("log_domain", [None, False, True])
@pytest.mark.parametrize("n_iters", [1, 3, 8])
def test_it_is_the_plain_form_in_double_precision(log_domain, n_iters):
    scores = drawn()
    found = sinkhorn_knopp(scores, 0.1, n_iters, log_domain=log_domain)
    torch.testing.assert_close(found.double(), plain(scores, 0.1, n_iters), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found.sum(1), torch.ones(24))


def test_mixed_precision_does_not_reach_the_targets():
    with torch.autocast("cpu", torch.bfloat16):
        found = sinkhorn_knopp(drawn(), 0.1)
    assert torch.equal(found, sinkhorn_knopp(drawn(), 0.1))


def test_what_overflows_in_the_plain_form_does_not_here():
    scores = drawn(spread=4)  # exp(12 / 0.04)
    assert torch.isinf(torch.exp(scores / 0.04)).any()
    found = sinkhorn_knopp(scores, 0.04)
    wanted = plain(scores, 0.04)
    assert torch.isfinite(wanted).all()  # float64 holds it
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(sinkhorn_knopp(scores + 1000, 0.04), found, atol=1e-3, rtol=1e-2)  # a shift says nothing
    alike = sinkhorn_knopp((scores - scores.amax(1, keepdim=True)), 0.04, 3)
    assert float((alike - found).abs().max()) > 1e-3  # each sample's own maximum taken off is another problem


def test_a_prototype_far_below_all_samples_still_gets_its_share():
    scores = drawn()
    scores[:, 3] -= 50  # its row of exp(score / 0.07) is zeros in float32 beside any other
    found = sinkhorn_knopp(scores, 0.07)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, sinkhorn_knopp(scores, 0.07, log_domain=True))
    assert float(found[:, 3].sum()) > 0.5  # of 2.4 that are even


def in_two(path):
    from anysize.core.training.processes import joined, place

    with joined():
        rank, _ = place()
        mine = drawn(spread=2)[12 * rank : 12 * (rank + 1)]
        found = [sinkhorn_knopp(mine, 0.1, log_domain=how) for how in (False, True)]
        torch.save(found, f"{path}/{rank}.pt")


def test_two_processes_balance_over_all_samples(tmp_path):
    together(2, lambda: in_two(tmp_path))
    for how in (0, 1):
        found = torch.cat([torch.load(tmp_path / f"{rank}.pt")[how] for rank in (0, 1)])
        torch.testing.assert_close(found.double(), plain(drawn(spread=2), 0.1), atol=1e-6, rtol=1e-4)


def test_the_queue_keeps_the_newest():
    queue = SinkhornQueue(5, 2)
    assert len(queue.held) == 0
    for start in (0, 3):
        queue.push(torch.arange(start, start + 3)[:, None].expand(3, 2).float())
    assert queue.held[:, 0].tolist() == [3, 4, 5, 0, 1]
    again = SinkhornQueue(5, 2)
    again.load_state_dict(queue.state_dict())
    assert torch.equal(again.held, queue.held)
    empty = SinkhornQueue(0, 2)
    empty.push(torch.ones(3, 2))
    assert len(empty.held) == 0


def test_wrong_scores_are_told():
    with pytest.raises(AnysizeError, match=r"expected \(samples, prototypes\)"):
        sinkhorn_knopp(torch.zeros(3), 0.1)
    with pytest.raises(AnysizeError, match="above zero"):
        sinkhorn_knopp(torch.zeros(3, 3), 0.0)
    with pytest.raises(AnysizeError, match="NaN"):
        sinkhorn_knopp(torch.full((3, 3), torch.nan), 0.1)
