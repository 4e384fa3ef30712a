"""The panels of a book's page: the figures that they draw, and the patterns that they hold."""

import base64
import json
import re

import numpy as np
import pytest

import anysize as az
from anysize.beams.channels.channels import channels_of
from anysize.beams.measuring import panels
from anysize.core.frontier.page import page
from anysize.core.verbs.panels import panels as panels_of


@pytest.fixture(scope="module")
def frontier(book, links):
    return az.measure(book, links, arms=["dft"])


def test_the_page_shows_all_three(book, links, frontier):
    text = page(frontier, panels_of(book, links, frontier))
    titles = [text.index(one) for one in ("Gain against feedback bits", "Who gets how much", "Where the beams look")]
    assert titles == sorted(titles)
    assert "gap dB" in text


def test_gain_is_drawn_where_it_lies(book, links, frontier):
    body = panels.by_bits(book, links, frontier).body
    paths = re.findall(r'<path d="M([^"]+)" stroke="([^"]+)"', body)
    assert len(paths) == 2
    gaps = {arm: [one.metrics["gap_db"] for one in frontier.arm(arm)] for arm in frontier.arms}
    low, high = min(map(min, gaps.values())), max(map(max, gaps.values()))
    for path, _ in paths:
        places = np.array([list(map(float, one.split())) for one in path.split("L")])
        shares = 1 - (places[:, 1] - 12) / 200
        near = [np.abs(shares - (np.array(found) - low) / (high - low)).max() for found in gaps.values()]
        assert min(near) < 0.01
    ticks = re.findall(r'y="([\d.]+)" text-anchor="end">(-?\d+)<', body)
    assert len(ticks) > 2
    for place, label in ticks:  # a whole number stands where it is, not where it was rounded from
        assert high - (float(place) - 16) / 200 * (high - low) == pytest.approx(int(label), abs=0.1)
    assert panels.by_bits(book, links, az.measure(book, links, sizes=[az.Size(beams=2)], arms=[])) is None


def test_a_chart_for_each_size_with_an_arm_a_line(book, links, frontier):
    body = panels.by_link(book, links, frontier).body
    assert body.count("<svg") == 4
    assert body.count("<path") == 8
    assert "array gain in dB, 16 beams" in body
    gains = 10 * np.log10(book.at(beams=16).sweep(channels_of(links).split()[1]).gain.numpy())
    expected = np.interp(np.linspace(0, 59, 101), np.arange(60), np.sort(gains))
    assert frontier.arm("nested")[-1].quantiles["gain_db"] == pytest.approx(expected, abs=1e-3)
    assert {len(path.split("L")) for path in re.findall(r'<path d="M([^"]+)"', body)} == {101}
    again = az.Frontier.from_json(frontier.to_json())
    assert panels.by_link(book, links, again).body == body


def test_the_patterns_are_those_of_the_beams(book, links, frontier):
    body = panels.patterns(book, links, frontier).body
    said = json.loads(re.search(r'id="look-data">(.*?)</script>', body)[1])
    levels = np.frombuffer(base64.b64decode(said["levels"]), np.uint8).reshape(16, said["wide"], said["high"])
    azimuth, zenith = np.linspace(-75, 75, said["wide"]), np.linspace(60, 120, said["high"])
    place = np.unravel_index(levels[0].argmax(), levels[0].shape)
    steered = book.panel.steering(azimuth[place[0]], zenith[place[1]])
    gain = 10 * np.log10(np.abs(steered.conj() @ book.array()[0]) ** 2)
    assert levels[0].max() == pytest.approx(255 * (gain + 20) / 20, abs=1)
    assert 'max="16"' in body
