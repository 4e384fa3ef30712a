"""Reports, their bits and their steps; rates against a plain computation."""

import math

import numpy as np
import pytest
import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.reports import Swept, beam_report, check_indices, index_bits
from anysize.beams.measuring.evaluator import GainEvaluator
from anysize.beams.measuring.rates import multi_user, single_user
from anysize.core.errors import DataError, SizeError

POWER = torch.tensor([[-80.3, -82.9, -79.5, -200.0], [-150.0, -141.0, -160.0, -145.5], [-20.0, -30.0, -60.0, -21.9]])


def test_the_best_beams_and_their_powers_in_steps():
    found = beam_report(POWER, best=3)
    assert found.index.tolist() == [[2, 0, 1], [1, 3, 0], [0, 3, 1]]
    assert found.rsrp[0].tolist() == [-80, -80, -82]  # 1 dB down to the step; then steps of 2 dB below the first
    assert found.rsrp[1].tolist() == [-140, -144, -150]
    assert found.rsrp[2, 0] == -44
    assert found.bits == 3 * 2 + 7 + 2 * 4
    assert beam_report(POWER).bits == 2 + 7


def test_what_is_too_weak_is_not_detected():
    found = beam_report(POWER, miss_dbm=-120)
    assert found.detected().tolist() == [True, False, True]
    assert found.index[1, 0] == -1
    assert math.isnan(found.rsrp[1, 0])


@pytest.mark.parametrize(("beams", "bits"), [(1, 1), (2, 1), (4, 2), (5, 3), (8, 3), (64, 6)])
def test_bits_of_an_index(beams, bits):
    assert index_bits(beams) == bits


def test_reports_that_do_not_fit_the_book():
    with pytest.raises(SizeError, match="names 1 to 4 beams here; got 5"):
        beam_report(POWER, best=5)
    with pytest.raises(DataError, match=r"report 1 \(from 0\) names beam 9, and the book has beams 0 to 7"):
        check_indices(torch.tensor([[0, 1], [9, 2]]), 8)


def test_rates_are_those_of_the_formulas():
    random = np.random.default_rng(0)
    values = (random.standard_normal((4, 2, 2, 6)) + 1j * random.standard_normal((4, 2, 2, 6))).astype(np.complex64)
    channels = Channels.checked(values, Panel(2, 3), np.zeros(4, int))
    beams = np.eye(6)[:3].astype(np.complex64)
    index = torch.tensor([0, 1, 2, 1])
    swept = Swept(index, torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.from_numpy(beams), 2, 3)
    snr = torch.tensor([3.0, 0.0, -2.0, 5.0])
    unit = values / np.sqrt((np.abs(values) ** 2).sum(2).mean((1, 2)))[:, None, None, None]
    alone = single_user(channels, swept, snr)
    for link in range(4):
        heard = (np.abs(unit[link, :, :, int(index[link])]) ** 2).sum(1)
        assert float(alone[link]) == pytest.approx(np.log2(1 + 10 ** (float(snr[link]) / 10) * heard).mean(), rel=1e-4)
    # Strongest first: links 0 (4 * 2), 3 (1 * 3.2), 1 (3), 2; link 1 has the beam of link 3, so 0, 3 and 2 are served.
    total = 0.0
    for link in (0, 3, 2):
        power = 10 ** (float(snr[link]) / 10) / 3
        for f in range(2):
            own = unit[link, f, :, int(index[link])] * np.sqrt(power)
            other = [unit[link, f, :, int(index[one])] * np.sqrt(power) for one in (0, 3, 2) if one != link]
            noise = np.eye(2) + sum(np.outer(h, h.conj()) for h in other)
            total += np.log2(1 + (own.conj() @ np.linalg.solve(noise, own)).real) / 2
    assert multi_user(channels, swept, snr, users=3) == pytest.approx(total, rel=1e-4)


def test_a_link_misses_by_its_budget(channels, book):
    view, few = book.at(beams=4), channels[:50]
    power = 10 * np.log10((np.abs(few.values) ** 2).sum(2).mean((1, 2)))
    gain = 10 * np.log10(view.sweep(few).gain.numpy())
    evaluator = GainEvaluator(budget_db=110, miss_db=0)
    found = evaluator.score(view, evaluator.prepare(few.data()))
    assert found.units["misses"].tolist() == (gain + power + 110 < 0).tolist()
    assert 0 < found.units["misses"].mean() < 1
