"""Files of channels: an array [links, subcarriers, rx, tx], the panel that sends them, and which drop each is of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.beams.channels.containers import Held, held, manifest
from anysize.beams.channels.panel import Panel
from anysize.core.arguments import shown
from anysize.core.data.data import Data
from anysize.core.errors import DataError

if TYPE_CHECKING:
    from anysize.beams.channels.channels import Channels

NAMES = ("channels", "H", "h", "channel")
_ALIGNED = 1.5


def read(source: Any) -> Data:
    """
    Channels from a file, from `Data`, or by the name of a 3GPP scenario (``uma:2000``).

    Raises `DataError` for anything that does not hold channels.
    """
    from anysize.core.data.read import read as read_any

    data = read_any(source)
    if data.corpus is None or data.corpus.of != "channel":
        raise DataError(f"{data.name} holds {data.holds}; expected channels, complex [links, subcarriers, rx, tx]")
    return data


def read_file(path: Path) -> Data | None:
    """
    The channels of a .npz, .npy, .h5 or .mat file; None for a folder, or a .npy or .npz of other things.

    The array is called channels or H, or is the only one with complex numbers or four dimensions. The panel stands in
    the file, as ``panel``: [rows, columns] or JSON, or in a JSON file of the same name beside it. ``drops`` numbers the
    draw that each link belongs to, ``steps`` the positions of a user who moves. With ``azimuth`` and ``zenith`` of the
    line of sight, in degrees from where the panel looks, the order of the elements is verified. Raises `DataError`.
    """
    if path.is_dir():
        return None
    shared = path.suffix.lower() in (".npy", ".npz")  # of vectors too, whose reader says better what is wrong
    try:
        found = held(path)
    except DataError:
        if shared:
            return None
        raise
    name = _array(found, path)
    if name is None:
        if shared:
            return None
        listed = ", ".join(list(found.shapes)[:8]) or "nothing"
        raise DataError(f"{path} holds {listed}; expected complex channels [links, subcarriers, rx, tx] as `channels`")
    if found.shapes[name][1] not in "cfiu":
        raise DataError(f"{path}: {name} holds objects and not numbers, and objects are not read; save a plain array")
    from anysize.beams.channels.channels import Channels  # loads torch, which a file of vectors can do without

    said = manifest(path)
    panel = _panel(found, said, path)
    drops, steps = (_whole(one, found, said, path) for one in ("drops", "steps"))
    made = Channels.checked(found.read(name), panel, drops, str(path), steps)
    made.about.update({key: value for key, value in said.items() if key not in ("panel", "drops", "steps")})
    if {"azimuth", "zenith"} <= found.shapes.keys():
        azimuth, zenith = (np.asarray(found.read(one)).ravel() for one in ("azimuth", "zenith"))
        check_order(made, azimuth, zenith, str(path))
    return made.data(path.stem)


def _array(found: Held, path: Path) -> str | None:
    """The name of the channels: by name, else the one complex array, else the one with four dimensions."""
    bare = path.suffix.lower() == ".npy"
    if not bare and (named := [name for name in NAMES if name in found.shapes]):
        return named[0]
    for wanted in (lambda shape, kind: kind == "c", lambda shape, kind: len(shape) == 4):
        fits = [name for name, (shape, kind) in found.shapes.items() if wanted(shape, kind)]
        if len(fits) == 1:
            return fits[0]
    return None


def _panel(found: Held, said: dict[str, Any], path: Path) -> Panel:
    value = found.read("panel") if "panel" in found.shapes else said.get("panel")
    if value is None:
        raise DataError(
            f"{path} does not say what panel its channels are of; add an array panel = [rows, columns], or write "
            f'{path.with_suffix(".json")} with {{"panel": {{"rows": 8, "columns": 8}}}}'
        )
    if isinstance(value, dict):
        return Panel.from_json(value, str(path))
    flat = np.asarray(value).ravel()
    if flat.dtype.kind in "US" and len(flat) == 1:
        try:
            return Panel.from_json(json.loads(str(flat[0])), str(path))
        except ValueError:
            raise DataError(f"{path}: the panel {shown(flat[0])} is no JSON") from None
    if len(flat) not in (2, 3) or flat.dtype.kind not in "iuf" or not np.all(flat == flat.astype(int)):
        raise DataError(
            f"{path}: the panel is {shown(value)}; expected [rows, columns] or [rows, columns, 1 or 2], whole numbers"
        )
    rows, columns, polarizations = map(int, [*flat, 1][:3])
    return Panel.from_json({"rows": rows, "columns": columns, "polarizations": polarizations}, str(path))


def _whole(name: str, held: Held, said: dict[str, Any], path: Path) -> np.ndarray | None:
    """The whole numbers that the file, or its manifest, gives each link by this name; None if neither does."""
    given = held.read(name) if name in held.shapes else said.get(name)
    if given is None or (name == "steps" and isinstance(given, int)):  # how many positions were drawn, not which
        return None
    found = np.asarray(given)
    if found.dtype.kind not in "iuf" or not np.all(found == np.floor(found)):
        raise DataError(f"{path}: {name} are {shown(given)}; expected whole numbers")
    return found.ravel().astype(int)


def check_order(channels: Channels, azimuth: np.ndarray, zenith: np.ndarray, where: str) -> None:
    """
    Verify that lines of sight are steered best in the order in which the panel counts its elements.

    Raises `DataError`, naming the order that fits, if turning the panel, or a phase that runs the other way, gives the
    links more than one and a half times the power in the beam of their line of sight.
    """
    if azimuth.shape != (len(channels),) or zenith.shape != azimuth.shape:
        raise DataError(
            f"{where}: azimuth and zenith have shapes {azimuth.shape} and {zenith.shape}; expected one a link"
        )
    seen = np.isfinite(azimuth) & np.isfinite(zenith)
    if not seen.any():
        return
    panel, values = channels.panel, channels.values[seen]
    beams = panel.steering(azimuth[seen], zenith[seen])  # (links, elements)
    whole = (np.abs(values) ** 2).sum((1, 2, 3))
    grid = beams.reshape(-1, panel.columns, panel.rows)
    orders = {
        "columns from the top": beams,
        "columns, with conjugate channels": beams.conj(),
        "columns from the bottom": grid[:, :, ::-1].reshape(beams.shape),
        "columns from the right": grid[:, ::-1].reshape(beams.shape),
        "rows": grid.transpose(0, 2, 1).reshape(beams.shape),
    }
    power = {}
    for name, steered in orders.items():
        power[name] = float((np.abs(np.einsum("lsrt,lt->lsr", values, steered)) ** 2).sum((1, 2)).dot(1 / whole))
    best = max(power, key=lambda name: power[name])
    if power[best] > _ALIGNED * power["columns from the top"]:
        advice = 'say "order": "rows" in the panel' if best == "rows" else "put the elements into that order"
        raise DataError(
            f"{where}: the lines of sight do not fit the panel's elements counted column by column from the top left; "
            f"they fit {best} {power[best] / power['columns from the top']:.1f} times as well; {advice}"
        )
