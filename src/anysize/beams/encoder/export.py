"""
What an encoder leaves to other programs: its sweep, its book without reports, and the network's layers as arrays.

A program of their own needs little more: two convolutions, three linear layers, and ``beams = site + turn thought``,
each made of unit norm (or, for phase shifters, of unit amplitudes first).
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from anysize.beams.codebooks.export import written
from anysize.beams.encoder.model import SSBEncoder
from anysize.core.engine_checks import Exported

_LAYERS = {"see.0": "convolve1", "see.2": "convolve2", "think.0": "join", "think.2": "squeeze", "think.4": "widen"}


def npz(view: SSBEncoder, path: str | os.PathLike[str]) -> Exported:
    """
    ``encoder.npz``: ``swept`` and ``site`` (k, elements) complex64, ``turn`` (k, elements, width) complex64, the weight
    and bias of each layer (``convolve1_weight``, ...), and the panel as [rows, columns].
    """
    small = view.extract()
    state = {name: value.detach().cpu().numpy() for name, value in small.state_dict().items()}
    arrays: dict[str, Any] = {"panel": np.array([view.panel.rows, view.panel.columns])}
    arrays["swept"] = state["swept"][..., 0] + 1j * state["swept"][..., 1]
    for name in ("site", "turn"):  # real and imaginary parts of an element stand side by side
        pairs = state[name].reshape(len(state[name]), view.panel.elements, 2, *state[name].shape[2:])
        arrays[name] = pairs[:, :, 0] + 1j * pairs[:, :, 1]
    for layer, said in _LAYERS.items():
        arrays |= {f"{said}_{part}": state[f"{layer}.{part}"] for part in ("weight", "bias")}
    content = io.BytesIO()
    np.savez(content, **arrays)
    return written(view, path, "npz", "encoder.npz", content.getvalue(), 'np.load("{}")')
