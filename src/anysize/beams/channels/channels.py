"""Channels of many links to one panel, as a model and an evaluator take them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch

from anysize.beams.channels.panel import Panel
from anysize.core.arguments import shown
from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import DataError, reason_of


@dataclass(frozen=True, eq=False)
class Channels:
    """
    Channels (links, subcarriers, rx, elements) complex64, each the row ``h`` of ``y = h w`` for a beam ``w``.

    Two polarisations of the panel stand as receive antennas. Raises `DataError` for what is no such array, for a link
    with NaN, an infinite value or nothing but zeros, and for another number of elements than the panel has.
    """

    values: np.ndarray
    panel: Panel
    drops: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """(links,) which draw of users each link belongs to; all to one, if it is not said."""
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """(links,) which position of its user's track each link is; all the first, if it is not said."""
    about: dict[str, Any] = field(default_factory=dict)
    """How they were drawn."""

    def __post_init__(self) -> None:
        for name in ("drops", "steps"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(len(self.values), int))

    @classmethod
    def checked(
        cls, values: Any, panel: Panel, drops: Any = None, where: str = "these channels", steps: Any = None
    ) -> Channels:
        """What a file holds, put into our order of elements. Raises `DataError`, naming the file and the link."""
        values = _array(values, where)
        wanted = "expected complex numbers [links, subcarriers, rx, tx]"
        if values.dtype.kind != "c":
            raise DataError(f"{where} holds {values.dtype}, which has no phase; {wanted}")
        if values.ndim != 4 or 0 in values.shape:
            raise DataError(f"{where} has shape {values.shape}; {wanted}")
        if values.shape[3] != panel.ports:
            dims = [name for name, length in zip(("links", "subcarriers", "rx"), values.shape, strict=False)
                    if length == panel.ports]  # fmt: skip
            turned = f"; the panel fits the dimension {dims[-1]}, so turn the array" if dims else ""
            raise DataError(
                f"{where} has shape {values.shape} and so {values.shape[3]} transmit ports, and the panel of {panel} "
                f"has {panel.ports}{turned}; {wanted}"
            )
        values = np.ascontiguousarray(values, np.complex64)
        numbers = values.view(np.float32)
        power = np.einsum("lsrt,lsrt->l", numbers, numbers, dtype=np.float64)
        for wrong, said in ((~np.isfinite(power), "holds NaN or an infinite value"), (power == 0, "is zero")):
            if wrong.any():
                raise DataError(f"{where}: link {int(np.argmax(wrong))} (from 0) {said}; leave such links out")
        links, subcarriers, rx, _ = values.shape
        parts = values.reshape(links, subcarriers, rx * panel.polarizations, panel.elements)
        if panel.order == "rows":
            place = np.arange(panel.elements).reshape(panel.rows, panel.columns).T.ravel()
            parts = parts[..., place]
        numbered: dict[str, Any] = {}
        for name, given in (("drops", drops), ("steps", steps)):
            found = np.zeros(links, int) if given is None else _array(given, f"{where}: {name}")
            if found.shape != (links,) or found.dtype.kind not in "iu":
                raise DataError(
                    f"{where}: {name} are {shown(given)}; expected a whole number for each of {links} links"
                )
            numbered[name] = found
        return cls(np.ascontiguousarray(parts), Panel(panel.rows, panel.columns, panel.polarizations), **numbered)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, place: slice | np.ndarray) -> Channels: ...
    def __getitem__(self, place: Any) -> Any:
        """One link as an array, or some links."""
        if isinstance(place, int | np.integer):
            return self.values[place]
        return Channels(self.values[place], self.panel, self.drops[place], self.steps[place], self.about)

    def some(self, indices: Sequence[int] | np.ndarray) -> Channels:
        """The links at these positions, with their drops."""
        return self[np.asarray(indices, dtype=np.intp)]

    def moments(self) -> list[Channels]:
        """
        The links of each step of their users' tracks, the same users in the same order: all of them, if none moves.

        Raises `DataError` if some users have more positions than others.
        """
        found = [self[self.steps == step] for step in np.unique(self.steps)]
        if any(not np.array_equal(one.drops, found[0].drops) for one in found):
            raise DataError("each user needs a link at each step, in the same order; some steps have other users")
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.values)

    def __repr__(self) -> str:
        drops = len(np.unique(self.drops))
        return f"Channels({len(self)} links of {drops} drops, panel {self.panel})"

    @cached_property
    def power(self) -> torch.Tensor:
        """Mean power of an element, (links,), summed over receive antennas: what one element alone would bring."""
        links, subcarriers = self.values.shape[:2]
        squares = np.abs(self.values.reshape(links, -1)).astype(np.float64) ** 2
        return torch.from_numpy(squares.sum(1) / (subcarriers * self.panel.elements)).float()

    @cached_property
    def rows(self) -> torch.Tensor:
        """
        Links of unit power, (links, m, 2, elements) float32: real and imaginary parts of m rows.

        A beam's array gain is the sum of ``|row w|^2`` over the m = subcarriers x rx rows: the linear average of the
        powers of subcarriers (TS 38.215), summed over receive antennas.
        """
        links, subcarriers, rx, elements = self.values.shape
        flat = torch.from_numpy(self.values.reshape(links, subcarriers * rx, elements))
        parts = torch.stack([flat.real, flat.imag], dim=2)
        return parts / (subcarriers * self.power)[:, None, None, None].sqrt()

    def coherent(self) -> Channels:
        """The mean over subcarriers of each channel: power as SSB-Encoder's code takes it, phases and all."""
        return Channels(self.values.mean(1, keepdims=True), self.panel, self.drops, self.steps, self.about)

    @cached_property
    def bound(self) -> torch.Tensor:
        """The array gain of each link's own best beam, (links,): the largest eigenvalue of the sum of its rows'."""
        rows = torch.complex(self.rows[:, :, 0], self.rows[:, :, 1])
        return torch.linalg.eigvalsh(rows @ rows.mH)[:, -1]

    def split(self) -> tuple[Channels, Channels]:
        """What is learnt from, and every fifth drop (at least one), which is not; of one drop every fifth link."""
        names = np.unique(self.drops)
        if len(names) > 1:
            left = np.isin(self.drops, names[4::5] if len(names) > 4 else names[-1:])
        else:
            left = np.arange(len(self)) % 5 == 4
        if left.all() or not left.any():
            raise DataError(f"{len(self)} links are too few to learn from; give at least 5")
        return self[~left], self[left]

    def data(self, name: str = "channels", notes: tuple[str, ...] = ()) -> Data:
        """As what `anysize.fit`, `measure` and `run` take."""
        digest = hashlib.sha256(f"channels {self.values.shape} {self.panel}".encode())
        digest.update(self.values.tobytes() + self.drops.astype("<i8").tobytes())
        if self.steps.any():
            digest.update(self.steps.astype("<i8").tobytes())
        items = Items([str(link) for link in range(len(self))], self, "channel", numbered=True)
        return Data(name, digest.hexdigest(), corpus=items, notes=notes)


def _array(given: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} make no array ({reason_of(error)})") from None


def channels_of(data: Data) -> Channels:
    """The channels that data hold. Raises `DataError` if they hold something else."""
    if data.corpus is None or not isinstance(data.corpus.rows, Channels):
        raise DataError(f"{data.name} holds {data.holds}; expected channels [links, subcarriers, rx, tx]")
    return data.corpus.rows
