"""The panel: one path in a known direction, in a known order of elements."""

import numpy as np
import pytest

from anysize.beams.channels.panel import Panel
from anysize.core.errors import DataError


def path(panel, azimuth, zenith):
    """One plane wave, written element by element from the geometry of TR 38.901: y to the left, z up."""
    found = []
    for column in range(panel.columns):
        for row in range(panel.rows):
            y, z = 0.5 * column, -0.5 * row
            a, t = np.radians(azimuth), np.radians(zenith)
            found.append(np.exp(2j * np.pi * (y * np.sin(t) * np.sin(a) + z * np.cos(t))))
    return np.array(found)


@pytest.mark.parametrize(("azimuth", "zenith"), [(0, 90), (35, 100), (-50, 80)])
def test_the_beam_of_a_direction_takes_all_power_of_a_path_from_there(azimuth, zenith):
    panel = Panel(3, 4)
    wave, beam = path(panel, azimuth, zenith), panel.steering(azimuth, zenith)
    assert np.linalg.norm(beam) == pytest.approx(1)
    assert abs(wave @ beam) ** 2 == pytest.approx(12)  # elements times the power of one
    assert abs(wave @ panel.steering(azimuth + 30, zenith)) ** 2 < 9


def test_the_pattern_of_a_beam_is_highest_where_it_points():
    panel = Panel(4, 8)
    azimuth, zenith = np.arange(-60, 61, 5), np.arange(60, 121, 5)
    found = panel.pattern(panel.steering([20, -40], [95, 70]), azimuth, zenith)
    assert found.shape == (2, 25, 13)
    for one, (a, z) in zip(found, [(20, 95), (-40, 70)], strict=True):
        place = np.unravel_index(one.argmax(), one.shape)
        assert (azimuth[place[0]], zenith[place[1]]) == (a, z)
        assert one.max() == pytest.approx(32)


@pytest.mark.parametrize(
    "wrong", [{"rows": 0, "columns": 8}, {"rows": 8}, {"rows": 2.5, "columns": 8}, {"rows": 8, "columns": 8, "x": 1}, 8]
)
def test_no_panel(wrong):
    with pytest.raises(DataError, match="panel"):
        Panel.from_json(wrong, "a file")
