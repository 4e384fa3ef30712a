"""Codebooks that are not learnt: grids, wide beams, the greedy order, eigenvectors and the tree."""

import itertools

import numpy as np
import pytest
import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.dft import dft, wide
from anysize.beams.codebooks.gains import gains
from anysize.beams.codebooks.greedy import eigenvectors, greedy
from anysize.beams.codebooks.tree import TreeCodebook
from anysize.beams.fit import learn_tree
from anysize.beams.methods import Beams
from anysize.core.errors import SizeError


def plain_gains(channels, beams):
    """``|H w|^2`` of normalised links, by numpy and from the definition."""
    power = (np.abs(channels.values) ** 2).sum(2).mean((1, 2))
    heard = np.einsum("lsrt,kt->lsrk", channels.values, beams)
    return (np.abs(heard) ** 2).sum(2).mean(1) / power[:, None]


def test_gains_are_the_mean_power_of_subcarriers_against_one_element(channels):
    beams = dft(channels.panel)[:5]
    found = gains(channels.rows, beams).numpy()
    assert found == pytest.approx(plain_gains(channels, beams.numpy()), rel=1e-4)
    own = np.linalg.svd(channels.values[3].reshape(-1, 64))[1][0] ** 2 / (np.abs(channels.values[3]) ** 2).sum() * 64
    assert channels.bound[3] == pytest.approx(own, rel=1e-4)
    assert (found <= channels.bound.numpy()[:, None] * (1 + 1e-5)).all()


def test_the_grid_is_orthonormal_and_an_oversampled_one_holds_it():
    panel = Panel(4, 6)
    grid, fine = dft(panel).numpy(), dft(panel, 2).numpy()
    assert grid @ grid.conj().T == pytest.approx(np.eye(24), abs=1e-5)
    assert len(fine) == 96
    assert np.abs(grid @ fine.conj().T).max(1) == pytest.approx(np.ones(24), abs=1e-5)


@pytest.mark.parametrize(("beams", "active"), [(4, 4), (8, 8), (16, 16), (64, 64)])
def test_wide_beams_send_from_as_many_elements_as_there_are_beams(beams, active):
    found = wide(Panel(8, 8), beams).numpy()
    assert found.shape == (beams, 64)
    assert ((np.abs(found) > 1e-6).sum(1) == active).all()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(beams), abs=1e-5)
    silent = np.abs(found).reshape(beams, 8, 8)[:, 0, 0]
    assert (silent > 0).all() == (beams == 64)


def test_wide_beams_that_make_no_grid_are_refused():
    with pytest.raises(SizeError, match="up to 64"):
        wide(Panel(8, 8), 65)
    with pytest.raises(SizeError, match="make no grid"):
        wide(Panel(8, 8), 11)


def test_the_lazy_order_is_that_of_looking_at_every_beam_at_every_step(channels):
    pool = dft(channels.panel)
    worth = np.log(np.maximum(plain_gains(channels, pool.numpy()), 1e-2))
    best, expected = np.full(len(worth), np.log(1e-2)), []
    for _ in range(12):
        totals = np.maximum(worth, best[:, None]).mean(0)
        expected.append(int(totals.argmax()))
        best = np.maximum(best, worth[:, expected[-1]])
    assert greedy(channels.rows, pool, 12).tolist() == expected


def test_the_greedy_pair_is_near_the_best_pair(channels):
    pool = dft(channels.panel)[::4]
    worth = np.log(np.maximum(plain_gains(channels, pool.numpy()), 1e-2)) - np.log(1e-2)
    best = max(np.maximum(worth[:, a], worth[:, b]).mean() for a, b in itertools.combinations(range(len(pool)), 2))
    first, second = greedy(channels.rows, pool, 2).tolist()
    assert np.maximum(worth[:, first], worth[:, second]).mean() >= (1 - 1 / np.e) * best


def test_more_beams_than_the_pool_has_are_refused(channels):
    with pytest.raises(SizeError, match="65 beams of a pool of 64; ask for 1 to 64"):
        greedy(channels.rows, dft(channels.panel), 65)


def test_an_eigenvector_reaches_the_bound_of_its_link(channels):
    few = channels[:6]
    found = eigenvectors(few.rows, 6)
    reached = gains(few.rows, found).max(0).values.sort().values
    assert reached.numpy() == pytest.approx(few.bound.sort().values.numpy(), rel=1e-4)


def test_a_tree_takes_the_best_child_of_the_best_coarse_beam(channels):
    tree = TreeCodebook.grown(channels, (4, 16))
    swept = tree.sweep(channels)
    coarse, leaves = plain_gains(channels, tree.coarse.numpy()), plain_gains(channels, tree.fine.flatten(0, 1).numpy())
    for link in range(0, len(channels), 29):
        parent = coarse[link].argmax()
        child = 4 * parent + leaves[link, 4 * parent : 4 * parent + 4].argmax()
        assert swept.index[link] == child
        assert float(swept.gain[link]) == pytest.approx(leaves[link, child], rel=1e-4)
    assert (swept.slots, swept.bits, str(tree.size)) == (8, 4, "beams=16")
    with pytest.raises(SizeError, match="cannot begin with 3"):
        TreeCodebook.grown(channels, (3, 16))


def test_a_coarse_beam_is_the_best_one_for_its_links():
    """Two groups of links, each of one path: two coarse beams are these paths."""
    panel = Panel(4, 4)
    waves = panel.steering([30, -30], [90, 100]).conj()
    noise = np.random.default_rng(0).standard_normal((40, 1, 1, 16)) * 0.01
    values = np.repeat(waves, 20, axis=0)[:, None, None] + noise
    tree = TreeCodebook.grown(Channels.checked(values.astype(np.complex64), panel), (2, 2))
    overlap = np.abs(tree.coarse.numpy() @ waves.T) ** 2
    assert sorted(overlap.argmax(1).tolist()) == [0, 1]
    assert overlap.max(1) == pytest.approx([1, 1], abs=0.01)
    assert torch.allclose(
        tree.sweep(Channels.checked(values.astype(np.complex64), panel)).gain, torch.tensor(16.0), atol=0.1
    )


def test_learning_both_levels_together_is_better_for_what_they_learn_from(channels):
    grown = TreeCodebook.grown(channels, (4, 16))
    learnt = learn_tree(Beams(steps=60), channels, (4, 16))
    assert learnt.fine.shape == grown.fine.shape
    gain = [float(one.sweep(channels).gain.log().mean()) for one in (grown, learnt)]
    assert gain[1] > gain[0]
    assert learnt.fine.norm(dim=2).numpy() == pytest.approx(np.ones((4, 4)), abs=1e-5)
