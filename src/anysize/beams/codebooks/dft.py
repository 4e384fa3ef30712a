"""DFT codebooks of a panel: full-aperture grids (3GPP TS 38.214, 5.2.2.2.1), and wide beams of a sub-array."""

from __future__ import annotations

import numpy as np
import torch

from anysize.beams.channels.panel import Panel
from anysize.core.arguments import takes, whole
from anysize.core.errors import SizeError

_EDGE = 5 * np.pi / 24  # SSB-Encoder's code keeps beams this far from the ends of the panel


@takes(oversampling=whole())
def dft(panel: Panel, oversampling: int = 1) -> torch.Tensor:
    """
    The grid of beams, (oversampling^2 x elements, elements) complex64 of unit norm, azimuth slowest.

    Without oversampling the beams are orthonormal. Beam (a, b) is ``exp(j 2 pi (a c / columns + b r / rows) / O)``.
    """
    across, down = (_line(length, oversampling) for length in (panel.columns, panel.rows))
    return torch.from_numpy(np.kron(across, down).astype(np.complex64))


def _line(length: int, oversampling: int) -> np.ndarray:
    places = np.arange(length * oversampling)[:, None] * np.arange(length)
    return np.exp(2j * np.pi * places / (length * oversampling)) / np.sqrt(length)


@takes(beams=whole())
def wide(panel: Panel, beams: int) -> torch.Tensor:
    """
    The standard sweep, (beams, elements): as many directions as beams, each from the middle of an equal bin of angles.

    Where there are fewer beams along a side than elements, only so many elements in the middle send: wide beams, of
    less gain. The most square shape is taken, with more beams in azimuth. Raises `SizeError` for more beams than
    elements.
    """
    if not 1 <= beams <= panel.elements:
        raise SizeError(f"a panel of {panel} has up to {panel.elements} such beams; got {beams}")
    shapes = [(across, beams // across) for across in range(1, beams + 1) if beams % across == 0]
    fits = [(a, d) for a, d in shapes if a <= panel.columns and d <= panel.rows]
    if not fits:
        raise SizeError(f"{beams} beams make no grid on a panel of {panel}; take a power of two")
    across, down = min(fits, key=lambda shape: (abs(shape[0] - shape[1]), -shape[0]))
    found = np.kron(_wide_line(panel.columns, across), _wide_line(panel.rows, down))
    return torch.from_numpy((found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.complex64))


def _wide_line(length: int, beams: int) -> np.ndarray:
    """(beams, length): the middle `beams` elements steered to as many angles, the others silent."""
    angles = _EDGE + (np.arange(beams) + 0.5) / beams * (np.pi - 2 * _EDGE)
    found = np.zeros((beams, length), complex)
    first = (length - beams) // 2
    found[:, first : first + beams] = np.exp(1j * np.pi * np.outer(np.cos(angles), np.arange(beams)))
    return found
