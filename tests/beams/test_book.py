"""The nested codebook: the battery, its prefixes, what learning is for, reports and formats."""

import json

import numpy as np
import pytest
import torch
from scipy.io import loadmat

import anysize as az
from anysize.beams.channels.channels import Channels
from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.model import NestedCodebook
from anysize.beams.fit import soft_loss
from anysize.beams.methods import Beams
from anysize.core.verbs.inputs import inputs_of
from anysize.testing import check_nested_model
from tests.beams.conftest import SIZES
from tests.beams.test_codebooks import plain_gains


def test_it_keeps_every_promise_of_a_nested_model(book, channels):
    few = channels[:7]
    check_nested_model(
        book, few, shape=lambda size: (7, size["beams"]),
        plain=lambda one: torch.from_numpy(10 * np.log10(plain_gains(one, book.array()))), items=few,
    )  # fmt: skip


def test_a_prefix_is_the_first_beams(book, channels):
    assert (book[:4].array() == book.array()[:4]).all()
    assert (book[:4].array() == book.at(beams=4).array()).all()
    assert np.linalg.norm(book.array(), axis=1) == pytest.approx(np.ones(16), abs=1e-5)
    gain = [float(book[:k].sweep(channels).gain.log().mean()) for k in SIZES]
    assert gain == sorted(gain)
    with pytest.raises(az.SizeError, match="trained for beams 2, 4, 8, 16"):
        book[:5]
    for wrong in (slice(2, 8), slice(0, 8, 2), 3):
        with pytest.raises(TypeError, match=r"book\[:8\]"):
            book[wrong]


def test_learning_beats_what_it_began_with_and_the_standard_sweep_on_other_drops(book, links):
    frontier = az.measure(book, links, arms=["dft", "greedy", "tree"])
    gap = {arm: [one.metrics["gap_db"] for one in frontier.arm(arm)] for arm in frontier.arms}
    assert frontier.meta["task"] == "beams for 60 links of 3 drops"
    assert gap["nested"] == sorted(gap["nested"])
    assert all(mine > theirs + 3 for mine, theirs in zip(gap["nested"][1:], gap["dft"][1:], strict=True))
    assert gap["nested"][0] > gap["greedy"][0]
    assert all(one < 0 for values in gap.values() for one in values)
    full = frontier.full()
    assert (full.metrics["feedback_bits"], full.metrics["slots"]) == (4, 16)


def test_the_soft_maximum_is_that_of_the_first_beams():
    share = torch.log(torch.tensor([[0.5, 0.25, 0.9], [0.1, 0.2, 0.05]]))
    expected = -np.mean([np.log(0.5**2 + 0.25**2), np.log(0.1**2 + 0.2**2)]) / 2
    assert float(soft_loss(share, 0.5, az.Size(beams=2))) == pytest.approx(expected, rel=1e-5)
    cold = float(soft_loss(share, 1e-3, az.Size(beams=3)))
    assert cold == pytest.approx(-np.mean(np.log([0.9, 0.2])), rel=1e-3)


def test_phase_only_elements_all_send_alike(links):
    made = Beams(beams=(2, 4), hardware="phase", steps=20).fit(links)
    assert np.abs(made.array()) == pytest.approx(np.full((4, 64), 1 / 8), abs=1e-6)
    assert made.hardware == "phase"


def test_the_same_seed_learns_the_same_book(links):
    one, other = (Beams(beams=(2, 4), steps=5, seed=3).fit(links) for _ in range(2))
    assert (one.array() == other.array()).all()


def test_what_was_held_out_plays_no_part(links, channels):
    left = channels.split()[1]
    values = channels.values.copy()
    values[np.isin(channels.drops, left.drops)] *= -3j
    turned = Channels(values, channels.panel, channels.drops).data()
    one, other = (Beams(beams=(4,), steps=5).fit(data) for data in (links, turned))
    assert (one.array() == other.array()).all()


def test_run_gives_index_power_and_bits(book, channels):
    found = book[:8].run(channels, tx_dbm=30)
    gain = np.einsum("lsrt,kt->lsrk", channels.values, book[:8].array())
    power = 10 * np.log10((np.abs(gain) ** 2).sum(2).mean(1)) + 30
    assert [one["index"] for one in found] == power.argmax(1).tolist()
    expected = np.clip(np.floor(power.max(1)), -140, -44)
    assert np.array([one["rsrp_dbm"] for one in found]) == pytest.approx(expected, abs=1.0)  # on the edge of a step
    assert (np.array([one["rsrp_dbm"] for one in found]) == expected).mean() > 0.95
    assert {one["bits"] for one in found} == {3 + 7}


def test_a_book_refuses_channels_of_another_panel(book):
    values = np.ones((3, 1, 1, 32), np.complex64)
    with pytest.raises(az.DataError, match="panel of 4 x 8; this book is for one of 8 x 8"):
        book.sweep(Channels.checked(values, Panel(4, 8)))
    with pytest.raises(az.DataError, match="32 transmit ports, and the panel of 8 x 8 has 64"):
        book(values)


def test_beams_of_another_shape_are_no_book():
    with pytest.raises(az.SizeError, match=r"expected \(4, 6\)"):
        NestedCodebook.of(torch.ones(3, 6, dtype=torch.complex64), Panel(2, 3), (2, 4))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"beams": (4, 600)}, "600 beams of a pool of 256; ask for 1 to 256"),
        ({"beams": (8, 4)}, "increas"),
        ({"cold": 0.9}, "falls from warm to cold"),
        ({"steps": 0}, "above zero"),
    ],
)
def test_what_cannot_be_learnt_is_refused_in_a_sentence(links, wrong, words):
    with pytest.raises(az.AnysizeError, match=words):
        Beams(**{"steps": 5, "beams": (4,), **wrong}).fit(links)


def test_texts_are_no_channels():
    with pytest.raises(az.DataError, match="beams needs channel"):
        Beams().fit(az.read(["a text"]))


def test_formats_hold_the_beams_of_the_size(book, tmp_path):
    small = book.at(beams=4)
    for form in small.exports:
        small.export(tmp_path / form, form)
    npz = np.load(tmp_path / "npz" / "codebook.npz")
    assert (npz["beams"] == small.array()).all()
    assert npz["panel"].tolist() == [8, 8]
    assert (loadmat(tmp_path / "mat" / "codebook.mat")["beams"] == small.array()).all()
    table = np.loadtxt(tmp_path / "csv" / "codebook.csv", delimiter=",", skiprows=1)
    beam, row, column = table[:, :3].astype(int).T
    assert table[:, 3] + 1j * table[:, 4] == pytest.approx(small.array()[beam, 8 * column + row], abs=1e-7)


def test_type_1_indices_name_the_nearest_standard_beam(tmp_path):
    """Beams that are standard ones, written from TS 38.214, 5.2.2.2.1, are found again."""
    panel, wanted = Panel(2, 4), [(3, 5), (10, 0)]

    def standard(l, m):  # noqa: E741
        across = np.exp(2j * np.pi * l * np.arange(4) / 16)
        down = np.exp(2j * np.pi * m * np.arange(2) / 8)
        return np.concatenate([one * down for one in across]) / np.sqrt(8)

    beams = torch.from_numpy(np.stack([standard(*one) for one in wanted]).astype(np.complex64))
    NestedCodebook.of(beams, panel).export(tmp_path / "nr", "nr-type1-indices")
    said = json.loads((tmp_path / "nr" / "codebook.json").read_text())
    assert (said["N1"], said["N2"], said["O1"], said["O2"]) == (4, 2, 4, 4)
    assert [(one["l"], one["m"]) for one in said["beams"]] == wanted
    assert [one["kept_db"] for one in said["beams"]] == pytest.approx([0, 0], abs=1e-3)


def test_links_that_differ_in_one_number_are_other_inputs_of_a_run(channels):
    values = channels.values.copy()
    values[5, 1, 0, 40] *= 1j
    one, other = (inputs_of(of.data().items()) for of in (channels, Channels(values, channels.panel, channels.drops)))
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == inputs_of(channels.data().items()).fingerprint


def test_some_links_keep_their_drops(channels):
    items = channels.data().items().take([3, 35, 3])
    assert (items.rows.drops == channels.drops[[3, 35, 3]]).all()
    assert (items.rows.values == channels.values[[3, 35, 3]]).all()
    assert items.ids == ["3", "35", "3"]
