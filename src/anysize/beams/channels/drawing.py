"""
Links of a 3GPP TR 38.901 sector, drawn by Sionna without its ray tracer, and kept with their settings and seed.

``uma:2000`` are 2,000 links of an urban macro sector; ``umi:500:seed=3,drop=50,spatial=1,blockage=1`` are 500 of an
urban micro sector in drops of 50 users, with spatial consistency (7.6.3) and blockage (7.6.4). ``uma:200:steps=5`` are
200 users who move, each at five positions of a straight track a second apart: 1,000 links, spatially consistent.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from anysize.beams.channels.channels import Channels
from anysize.beams.channels.panel import Panel
from anysize.beams.channels.reading import check_order, read_file
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError, DataError
from anysize.core.files import as_json, write_together
from anysize.core.progress import bar

SCENARIOS = ("uma", "umi")
INSTALL = 'pip install "anysize[beams]"'
_COUNTS = ("links", "drop", "rows", "columns", "rx", "subcarriers", "carrier", "steps")
_TRACKS = ("steps", "every", "walk", "drive")
_SPACING = 5e6  # Hz between the frequencies that are kept: four of them span 15 MHz, a few coherence bandwidths


@dataclass(frozen=True)
class Drawn:
    """The settings of a draw. Raises `DataError` for one that cannot be drawn."""

    scenario: str
    links: int
    """Users; each of them so many links as its track has steps."""
    seed: int = 0
    drop: int = 100
    """Users of one drop."""
    rows: int = 8
    columns: int = 8
    rx: int = 2
    """Receive antennas of a user: 1, or 2 of crossed polarisation."""
    subcarriers: int = 4
    carrier: float = 3.5e9
    """In Hz."""
    spatial: int = 0
    """1: users that are near each other see alike (spatial consistency)."""
    blockage: int = 0
    """1: people and cars stand in the way (model A)."""
    steps: int = 1
    """Positions of each user's track; of more than one, with spatial consistency."""
    every: float = 1.0
    """Seconds between two positions."""
    walk: float = 1.4
    """Speed of those who walk in m/s, give or take .15, in any direction; SSB-Encoder's."""
    drive: float = 10.0
    """Speed in m/s of the twentieth of users who drive; SSB-Encoder names no speed, and roads of which we know
    nothing: they too go in any direction."""

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise DataError(f"there is no scenario {self.scenario!r}; expected one of {', '.join(SCENARIOS)}")
        for one in fields(self):
            value, least = getattr(self, one.name), 1 if one.name in _COUNTS else 0
            if not isinstance(value, str) and not least <= value < float("inf"):
                raise DataError(f"{one.name} is {value}; expected at least {least}")
        if self.rx > 2:
            raise DataError(f"rx is {self.rx}; expected 1 or 2 receive antennas")

    def told(self) -> dict[str, Any]:
        """The settings as plain values; those of tracks only where users move."""
        return {name: value for name, value in asdict(self).items() if self.steps > 1 or name not in _TRACKS}

    @classmethod
    def parse(cls, text: str) -> Drawn:
        """``uma:2000`` or ``umi:500:seed=3,drop=50``."""
        scenario, _, rest = text.partition(":")
        count, _, more = rest.partition(":")
        kinds: dict[str, type] = {one.name: type(one.default) for one in fields(cls)[2:]}
        given: dict[str, Any] = {}
        for part in filter(None, more.split(",")):
            name, _, value = part.partition("=")
            try:
                given[name] = kinds[name](value)
            except (KeyError, ValueError):
                raise DataError(
                    f"cannot read {part!r} of {text}; expected like seed=1, of {', '.join(kinds)}"
                ) from None
        if not count.isdecimal():
            raise DataError(f"cannot read {text}; expected a scenario and how many links, like uma:2000")
        return cls(scenario, int(count), **given)


def read_named(name: str) -> Data:
    """
    The links that a name like ``uma:2000`` stands for: those that were kept, or drawn now and kept.

    They are kept in ``ANYSIZE_CACHE``, else ``~/.cache/anysize``.
    """
    settings = Drawn.parse(name)
    said = json.dumps(settings.told(), sort_keys=True)
    home = Path(os.environ.get("ANYSIZE_CACHE") or Path.home() / ".cache" / "anysize") / "channels"
    file = home / f"{settings.scenario}-{settings.links}-{hashlib.sha256(said.encode()).hexdigest()[:12]}.npz"
    if not file.exists():
        keep(settings, file)
    found = read_file(file)
    assert found is not None
    return Data(name, found.fingerprint, corpus=found.corpus, notes=(f"drawn by Sionna and kept in {file}",))


def keep(settings: Drawn, file: Path) -> None:
    """Draw and write: the links, and the settings in a JSON file beside them."""
    from importlib.metadata import version

    made, azimuth, zenith = draw(settings)
    panel = {"rows": settings.rows, "columns": settings.columns}
    said = {
        "panel": panel,
        **settings.told(),
        "spacing": _SPACING,
        "made_by": f"sionna-no-rt {version('sionna-no-rt')}",
    }
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        "panel": np.array([*panel.values()]),
        "drops": made.drops,
        **({"steps": made.steps} if settings.steps > 1 else {}),
        "azimuth": azimuth,
        "zenith": zenith,
    }
    np.savez(content, channels=made.values, **arrays)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_together({file: content.getvalue(), file.with_suffix(".json"): as_json(said)})


def draw(settings: Drawn) -> tuple[Channels, np.ndarray, np.ndarray]:
    """
    The channels, with path loss and shadowing, and azimuth and zenith of each user in degrees of the panel.

    Steering is verified against the order in which the panel counts its elements. Raises `AnysizeError`, naming the
    command that installs it, without Sionna.
    """
    try:
        import sionna.phy as sionna
        from sionna.phy.channel.tr38901 import PanelArray, UMa, UMi
    except ImportError:
        raise AnysizeError(
            f"channels are drawn by Sionna, which is not installed; install it with: {INSTALL}"
        ) from None
    sionna.config.seed = settings.seed
    array = {"num_rows_per_panel": settings.rows, "num_cols_per_panel": settings.columns}
    common = {"carrier_frequency": settings.carrier}
    panel = PanelArray(**array, **common, polarization="single", polarization_type="V", antenna_pattern="38.901")
    user = PanelArray(
        num_rows_per_panel=1, num_cols_per_panel=1, antenna_pattern="omni", **common,
        **({"polarization": "dual", "polarization_type": "cross"} if settings.rx == 2
           else {"polarization": "single", "polarization_type": "V"}),
    )  # fmt: skip
    model = {"uma": UMa, "umi": UMi}[settings.scenario](
        o2i_model="low", ut_array=user, bs_array=panel, direction="downlink", **common,
        enable_spatial_consistency=bool(settings.spatial or settings.steps > 1),
        enable_blockage=bool(settings.blockage),
        blockage_self_blocking="portrait" if settings.blockage else None,
    )  # fmt: skip
    values, angles, drops, steps = [], [], [], []
    with bar(settings.links, f"drawing {settings.scenario}", " links") as shown:
        for number, start in enumerate(range(0, settings.links, settings.drop)):
            users = min(settings.drop, settings.links - start)
            one, seen = _drop(model, settings, users)
            values.append(one)
            angles.append(seen)
            drops.append(np.full(users * settings.steps, number))
            steps.append(np.repeat(np.arange(settings.steps), users))
            shown.update(users)
    azimuth, zenith = np.concatenate(angles, axis=1)
    made = Channels.checked(
        np.concatenate(values), Panel(settings.rows, settings.columns), np.concatenate(drops), settings.scenario,
        np.concatenate(steps),
    )  # fmt: skip
    check_order(made, azimuth, zenith, "what Sionna drew")
    return made, azimuth, zenith


def _drop(model: Any, settings: Drawn, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Channels (links, subcarriers, rx, tx) of one drop, step after step, and the links' azimuth and zenith."""
    import torch
    from sionna.phy.channel import cir_to_ofdm_channel, gen_single_sector_topology, subcarrier_frequencies

    model.reset_topology()  # another number of users is refused without
    topology = gen_single_sector_topology(batch_size=1, num_ut=users, scenario=settings.scenario)
    model.set_topology(*topology)
    if settings.steps > 1:
        topology = _along(topology, settings)
        # A user keeps its line of sight along the track. Sionna tells it nowhere else.
        los = model._scenario.outdoor_los.repeat(1, 1, settings.steps)
        model.reset_topology()
        track = torch.arange(users).repeat(settings.steps)
        model.set_topology(*topology, los=los, spatial_consistency_track_ids=track)
    with torch.no_grad():
        gains, delays = model(num_time_samples=1, sampling_frequency=1.0)
        spectrum = cir_to_ofdm_channel(
            subcarrier_frequencies(settings.subcarriers, _SPACING), gains, delays, normalize=False
        )  # [1, users, rx, 1, tx, 1, subcarriers]
    where, base, _, turned = (one[0].numpy() for one in topology[:4])
    ahead = (where - base) @ _rotation(*turned[0])  # as the panel sees it
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    azimuth, zenith = np.degrees(np.arctan2(ahead[:, 1], ahead[:, 0])), np.degrees(np.arccos(ahead[:, 2]))
    return spectrum[0, :, :, 0, :, 0].permute(0, 3, 1, 2).numpy(), np.stack([azimuth, zenith])


def _along(topology: Any, settings: Drawn) -> tuple[Any, ...]:
    """The topology of all positions of the users' tracks, step after step; each user goes straight on."""
    import torch
    from sionna.phy import config

    where, base, turned, panel, _, indoors = topology
    draw, users = config.np_rng, where.shape[1]
    heading, drives = draw.uniform(0, 2 * np.pi, users), draw.random(users) < 0.05
    speed = np.where(drives, settings.drive, draw.normal(settings.walk, 0.15, users).clip(0))
    flat = np.stack([speed * np.cos(heading), speed * np.sin(heading), np.zeros(users)], axis=1)
    velocity = torch.as_tensor(flat, dtype=where.dtype)[None]
    moved = torch.cat([where + step * settings.every * velocity for step in range(settings.steps)], dim=1)
    many = (1, settings.steps, 1)
    return moved, base, turned.repeat(many), panel, velocity.repeat(many), indoors.repeat(many[:2])


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """From the panel's axes to those of the ground (TR 38.901, equation 7.1-2)."""
    (ca, cb, cc), (sa, sb, sc) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    return np.array([
        [ca * cb, ca * sb * sc - sa * cc, ca * sb * cc + sa * sc],
        [sa * cb, sa * sb * sc + ca * cc, sa * sb * cc - ca * sc],
        [-sb, cb * sc, cb * cc],
    ])  # fmt: skip
