"""The SSB-Encoder: the battery, what it sees, who serves whom, and users who come and go."""

import numpy as np
import pytest
import torch

import anysize as az
from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.dft import dft, wide
from anysize.beams.codebooks.model import TX_DBM, NestedCodebook
from anysize.beams.codebooks.reports import Report, beam_report, measured
from anysize.beams.encoder.dynamics import loop
from anysize.beams.encoder.fit import fit
from anysize.beams.encoder.model import Signs
from anysize.beams.encoder.observing import GRID, halves, observe, patterns
from anysize.beams.measuring.panels import by_bits, by_link
from anysize.beams.methods import Beams
from anysize.testing import check_nested_model
from tests.beams.test_codebooks import plain_gains


@pytest.fixture(scope="module")
def encoder(links):
    made = Beams(beams=(2, 4, 8), from_="reports", steps=60, rounds=15, sweep=4).fit(links)
    with torch.no_grad():  # so that its books differ from the site's, as after a long training
        made.turn.add_(0.05 * torch.randn(made.turn.shape, generator=torch.Generator().manual_seed(0)))
    return made


def test_it_keeps_every_promise_of_a_nested_model(encoder, channels):
    few = channels[:30]
    check_nested_model(encoder, few, shape=lambda size: (30, size["beams"]), items=few)


def test_the_pattern_of_a_steered_beam_is_highest_there():
    panel = Panel(4, 8)
    angles = 5 * np.pi / 24 + (np.arange(GRID) + 0.5) / GRID * (np.pi - 2 * 5 * np.pi / 24)
    across, down = 3, 8
    beam = np.kron(np.exp(1j * np.pi * np.cos(angles[across]) * np.arange(8)),
                   np.exp(1j * np.pi * np.cos(angles[down]) * np.arange(4)))  # fmt: skip
    found = patterns(panel, torch.from_numpy(beam[None].astype(np.complex64)))[0]
    assert np.unravel_index(int(found.argmax()), (GRID, GRID)) == (across, down)
    assert float(found.norm()) == pytest.approx(1, rel=1e-5)


def test_what_is_seen_are_the_patterns_by_their_reports():
    panel = Panel(4, 4)
    beams = dft(panel)[[1, 6, 11]]
    report = Report(torch.tensor([[0], [2], [2], [-1]]), torch.tensor([[-90.0], [-100.0], [-80.0], [float("nan")]]), 9)
    pictures, facts = observe(panel, beams, report)
    one = patterns(panel, beams)
    assert torch.allclose(pictures[0], (one[0] + 2 * one[2]) / 3, atol=1e-6)
    assert torch.allclose(pictures[1], (0.5 * one[0] + (0 + 1) * one[2]) / 3, atol=1e-6)
    assert torch.allclose(pictures[2], one.mean(0), atol=1e-6)
    assert facts.tolist() == pytest.approx([2 / 8, 2 / 48, np.std([-90, -100, -80]) / 24, np.log2(3) / 6], rel=1e-5)
    nobody = observe(panel, beams, Report(torch.full((2, 1), -1), torch.full((2, 1), float("nan")), 9))
    assert torch.isfinite(nobody[0]).all()
    assert torch.isfinite(nobody[1]).all()
    with pytest.raises(az.DataError, match="names beam 3, and the book has beams 0 to 2"):
        observe(panel, beams, Report(torch.tensor([[3]]), torch.tensor([[-90.0]]), 9))


def test_each_half_of_a_drop_is_served_by_what_the_other_reports(encoder, channels):
    few = channels[:40]
    groups = halves(few.drops)
    assert np.bincount(groups).tolist() == [10, 10, 10, 10]
    others = few[groups == 1]
    powers = measured(others.rows, others.power, wide(few.panel, 4), TX_DBM)
    book = encoder.at(beams=4).next_book(beam_report(powers), wide(few.panel, 4))
    expected = plain_gains(few[groups == 0], book.array())
    swept = encoder.at(beams=4).sweep(few)
    assert swept.index[groups == 0].tolist() == expected.argmax(1).tolist()
    assert swept.gain[groups == 0].numpy() == pytest.approx(expected.max(1), rel=1e-3)
    assert torch.allclose(swept.taken()[0], torch.from_numpy(book.array())[swept.index[0]], atol=1e-5)
    assert tuple(book.nesting.values("beams")) == (2, 4)


def test_what_a_link_says_does_not_serve_itself(encoder, channels):
    """Turning one link's channel round changes what the other half gets, and not what its own half gets."""
    few = channels[:20]
    values = few.values.copy()
    values[0] = values[0][..., ::-1] * 3
    turned = Channels(values, few.panel, few.drops)
    before, after = encoder(few), encoder(turned)
    own = halves(few.drops) == 0
    own[0] = False
    assert torch.allclose(before[own], after[own], atol=1e-4)
    assert not torch.allclose(before[~own & (np.arange(20) > 0)], after[~own & (np.arange(20) > 0)], atol=1e-4)


def test_it_is_far_above_the_sweep_that_it_reads(encoder, links):
    frontier = az.measure(encoder, links, arms=["dft", "site", "genie"])
    gap = {arm: frontier.arm(arm)[-1].metrics["gap_db"] for arm in frontier.arms}
    assert gap["nested"] > gap["dft"] + 3
    assert gap["site"] > gap["dft"] + 3
    assert gap["dft"] < gap["genie"] < 0


def test_training_moves_the_books_towards_their_users():
    """Drops whose users stand in one of two directions: a book of two beams serves each where it stands."""
    panel, draw = Panel(4, 4), np.random.default_rng(0)
    where = np.array([40, -40])[np.repeat(np.arange(20) % 2, 12)]
    azimuth = where + draw.uniform(-12, 12, len(where))
    values = panel.steering(azimuth, np.full(len(where), 90)).conj()[:, None, None]
    links = Channels.checked(values.astype(np.complex64), panel, np.repeat(np.arange(20), 12)).data()
    made = Beams(beams=(1, 2), from_="reports", steps=60, rounds=60, sweep=4, pool=1).fit(links)
    frontier = az.measure(made, links, arms=["site"])
    gap = {arm: [one.metrics["gap_db"] for one in frontier.arm(arm)] for arm in frontier.arms}
    assert gap["nested"][0] > gap["site"][0] + 2  # one beam cannot serve both directions
    assert gap["nested"][1] > gap["site"][1]


def test_users_come_and_go(encoder, links):
    drop = channels_of(links)
    few = drop[drop.drops == 0]
    view = encoder.at(beams=8)
    found = loop(view, few, steps=5, leave=0.3, seed=1)
    assert len(found) == 5
    assert found[0].joined is None
    assert all(one.joined is not None for one in found[1:])
    assert found[0].bits == 10 * (2 + 7)  # ten users on the first sweep of 4 beams
    assert found[1].bits == 10 * (3 + 7)
    assert found[1].present > found[0].present  # from wide beams to a book of the site
    assert loop(view, few, steps=5, leave=0.3, seed=1) == found
    assert [one.joined for one in loop(view, few, steps=3, leave=0.0)] == [None] * 3
    assert loop(view, few, steps=2, miss_dbm=0.0)[1].bits == 0
    with pytest.raises(az.DataError, match="leave is a share"):
        loop(view, few, leave=2)


def test_the_first_book_is_the_standard_sweep(encoder):
    assert isinstance(encoder.first, NestedCodebook)
    assert torch.allclose(encoder.first.beams, wide(encoder.panel, 4), atol=1e-6)


@pytest.fixture(scope="module")
def coded(links):
    return Beams(beams=(2, 4), bits=(2, 8), from_="reports", steps=40, rounds=10, sweep=4).fit(links)


def test_a_latent_in_bits_is_nested_too(coded, channels):
    few = channels[:30]
    check_nested_model(coded, few, shape=lambda size: (30, size["beams"]), items=few)
    _, pictures, facts = coded.heard(few)
    latent = coded.latent(pictures, facts)
    assert set(latent.unique().tolist()) <= {-1.0, 1.0}
    assert (coded.at(bits=2).latent(pictures, facts) == latent[:, :2]).all()
    expected = coded.decoded(torch.cat([latent[:, :2], torch.zeros(len(latent), 6)], 1), 4)
    assert torch.allclose(coded.decoded(latent[:, :2], 4), expected, atol=1e-6)
    assert [coded.at(size).cost().bytes for size in coded.nesting] == [2, 2, 2, 2]
    with pytest.raises(az.AnysizeError, match="give them with --from reports"):
        Beams(bits=(2, 8))


def test_books_stand_beside_bits_that_they_do_not_read(coded, links):
    frontier = az.measure(coded, links, arms=["dft", "site", "genie"])
    for arm in ("dft", "site", "genie"):
        assert [str(one.size) for one in frontier.arm(arm)] == ["beams=2,bits=8", "beams=4,bits=8"]
    assert by_bits(coded, links, frontier).body.count("<path") == 4
    assert by_link(coded, links, frontier).body.count("<svg") == 2


def test_the_sign_of_a_latent_learns_as_its_hyperbolic_tangent():
    values = torch.tensor([-2.0, 0.5, 0.0], requires_grad=True)
    found = Signs()(values)
    assert found.tolist() == [-1.0, 1.0, 1.0]
    (found * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    expected = (1 - np.tanh([-2, 0.5, 0]) ** 2) * [1, 2, 3]
    assert values.grad.numpy() == pytest.approx(expected, rel=1e-5)


def moving(panel, users=12, steps=3):
    """One path a user, whose azimuth grows by 10 degrees a step."""
    azimuth = np.linspace(-50, 20, users) + 10 * np.arange(steps)[:, None]
    values = panel.steering(azimuth.ravel(), np.full(users * steps, 90)).conj()[:, None, None].astype(np.complex64)
    return Channels.checked(values, panel, np.zeros(users * steps, int), "moving", np.repeat(np.arange(steps), users))


def test_the_loop_follows_users_who_move():
    panel = Panel(4, 8)
    links = moving(panel)
    book = NestedCodebook.of(torch.from_numpy(panel.steering([-15], [90]).astype(np.complex64)), panel)
    found = loop(book, links, leave=0.0, there=0.999)
    expected = [np.mean(10 * np.log10(plain_gains(one, book.array())[:, 0] / 32)) for one in links.moments()]
    assert [one.present for one in found] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(az.DataError, match="4 sweeps of users who move over 3 positions"):
        loop(book, links, steps=4)
    with pytest.raises(az.DataError, match="some steps have other users"):
        links[1:].moments()


def test_training_follows_users_to_where_they_go():
    """Users who stand at -40 degrees go to 40, and back: the book for the next sweep looks where they will be."""
    panel, draw = Panel(4, 4), np.random.default_rng(0)
    sides = np.array([40, -40])[np.repeat(np.arange(16) % 2, 10)]
    azimuth = np.stack([sides, -sides]) + draw.uniform(-8, 8, (2, len(sides)))
    values = panel.steering(azimuth.ravel(), np.full(2 * len(sides), 90)).conj()[:, None, None].astype(np.complex64)
    drops = np.tile(np.repeat(np.arange(16), 10), 2)
    links = Channels.checked(values, panel, drops, "moving", np.repeat([0, 1], len(sides)))
    made = fit(Beams(beams=(1,), from_="reports", steps=20, rounds=80, sweep=4, pool=1, sweeps=2), links)
    for drop in (0, 1):
        now, then = links[drops == drop].moments()
        report = beam_report(measured(now.rows, now.power, made.first.beams, TX_DBM))
        gain = made.next_book(report, made.first.beams).sweep(then).gain
        assert float((gain / then.bound).mean()) > 0.7


def test_the_arrays_of_an_encoder_make_the_same_book(encoder, channels, tmp_path):
    view = encoder.at(beams=4)
    view.export(tmp_path / "npz", "npz")
    held = np.load(tmp_path / "npz" / "encoder.npz")
    _, pictures, facts = view.heard(channels[:20])
    tensors = {name: torch.from_numpy(held[name]) for name in held.files}
    seen = pictures
    for name, stride in (("convolve1", 1), ("convolve2", 2)):
        weight, bias = tensors[f"{name}_weight"], tensors[f"{name}_bias"]
        seen = torch.nn.functional.gelu(torch.nn.functional.conv2d(seen, weight, bias, stride, 1))
    thought = torch.cat([seen.flatten(1), facts], 1)
    for name in ("join", "squeeze", "widen"):
        thought = torch.nn.functional.gelu(thought @ tensors[f"{name}_weight"].T + tensors[f"{name}_bias"])
    free = held["site"] + np.einsum("gw,kew->gke", thought.detach().numpy(), held["turn"])
    found = free / np.linalg.norm(free, axis=2, keepdims=True)
    assert found == pytest.approx(view.decoded(view.latent(pictures, facts)).detach().numpy(), abs=1e-4)
    assert held["swept"] == pytest.approx(wide(encoder.panel, 4).numpy(), abs=1e-6)
