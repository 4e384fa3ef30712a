"""A book for other programs: arrays for numpy and MATLAB, a table, or the indices of 3GPP's Type I beams."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.dft import dft
from anysize.beams.codebooks.model import NestedCodebook
from anysize.core.engine_checks import Exported
from anysize.core.errors import AnysizeError
from anysize.core.files import as_json, new_directory
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.sizes.size import Size


class Shown(Protocol):
    """What an export says of a book, or of what makes books."""

    panel: Panel
    size: Size


OVERSAMPLING = 4
"""O1 = O2 of TS 38.214, table 5.2.2.2.1-2."""


def npz(view: NestedCodebook, path: str | os.PathLike[str]) -> Exported:
    """``codebook.npz``: beams (k, elements) complex64, and the panel as [rows, columns]."""
    content = io.BytesIO()
    np.savez(content, beams=view.array(), panel=_panel(view))
    return written(view, path, "npz", "codebook.npz", content.getvalue(), 'np.load("{}")["beams"]')


def mat(view: NestedCodebook, path: str | os.PathLike[str]) -> Exported:
    """``codebook.mat`` (version 5): beams (k, elements) and panel. Needs scipy."""
    try:
        from scipy.io import savemat
    except ImportError:
        raise AnysizeError('a .mat is written by scipy; install it with: pip install "anysize[beams]"') from None
    content = io.BytesIO()
    savemat(content, {"beams": view.array(), "panel": _panel(view)})
    return written(view, path, "mat", "codebook.mat", content.getvalue(), "load {}")


def csv(view: NestedCodebook, path: str | os.PathLike[str]) -> Exported:
    """``codebook.csv``: a line for each element of each beam, with its row and column, real and imaginary part."""
    lines = ["beam,row,column,real,imaginary"]
    for beam, weights in enumerate(view.array()):
        for element, value in enumerate(weights):
            column, row = divmod(element, view.panel.rows)
            lines.append(f"{beam},{row},{column},{value.real:.9g},{value.imag:.9g}")
    return written(view, path, "csv", "codebook.csv", ("\n".join(lines) + "\n").encode(), "any reader of tables: {}")


def nr_type1_indices(view: NestedCodebook, path: str | os.PathLike[str]) -> Exported:
    """
    ``codebook.json``: for each beam the nearest of the Type I single-panel codebook (TS 38.214, 5.2.2.2.1).

    ``l`` counts directions across and ``m`` directions down a grid that is oversampled 4 times; ``kept_db`` says how
    much of the beam's power lies in that one, which is what a standard codebook loses of this one.
    """
    panel, grid = view.panel, dft(view.panel, OVERSAMPLING).numpy()
    kept = np.abs(view.array() @ grid.conj().T) ** 2  # (k, grid)
    near = kept.argmax(1)
    across, down = np.divmod(near, panel.rows * OVERSAMPLING)
    rows = [
        {"beam": beam, "l": int(a), "m": int(d), "kept_db": round(float(10 * np.log10(kept[beam, place])), 3)}
        for beam, (a, d, place) in enumerate(zip(across, down, near, strict=True))
    ]
    said = {"N1": panel.columns, "N2": panel.rows, "O1": OVERSAMPLING, "O2": OVERSAMPLING, "beams": rows}
    worst = min(row["kept_db"] for row in rows)
    note = f"the nearest standard beams keep from {worst:.1f} dB up of the power of these"
    return written(view, path, "nr-type1-indices", "codebook.json", as_json(said), "any reader of JSON: {}", (note,))


def _panel(view: NestedCodebook) -> np.ndarray:
    return np.array([view.panel.rows, view.panel.columns])


def written(
    view: Shown,
    path: Any,
    form: str,
    name: str,
    content: bytes,
    how: str,
    notes: tuple[str, ...] = (),
) -> Exported:
    """One file, in a folder that says what it is."""
    with new_directory(path, marker=EXPORT) as folder:
        exported = Exported(form, how=how.format(Path(path) / name), notes=notes)
        (folder / name).write_bytes(content)
        write_note(folder, form, {"beams": view.size["beams"], "panel": str(view.panel)}, exported)
    return exported
