"""
The antenna panel of a base station: in which order its elements stand in a channel, and the beams that steer it.

Elements are numbered column by column, each from the top down, as in 3GPP TS 38.214 (5.2.2.2.1) and in Sionna. Seen in
the direction in which the panel looks, azimuth grows to the left and zenith from the top down, in degrees: azimuth 0
and zenith 90 is straight ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from anysize.core.arguments import shown
from anysize.core.errors import DataError

Order = Literal["columns", "rows"]


@dataclass(frozen=True)
class Panel:
    """
    Rows and columns of elements, half a wavelength apart, one or two polarisations at each place.

    Raises `DataError` if a number is not above zero, or there are more than two polarisations.
    """

    rows: int
    columns: int
    polarizations: int = 1
    """With two, all elements of the first stand before all of the second; a beam is sent from both as two ports, whose
    powers the receiver adds."""
    order: Order = "columns"
    """How a file counts the elements: column by column, or row by row. What is read is put into columns."""

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "polarizations"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise DataError(f"a panel's {name} are {shown(value)}; expected a whole number above zero")
        if self.polarizations > 2 or self.order not in ("columns", "rows"):
            raise DataError(
                f"a panel has 1 or 2 polarizations and its order is columns or rows; got {self.polarizations} and "
                f"{shown(self.order)}"
            )

    @classmethod
    def from_json(cls, value: Any, where: str) -> Panel:
        """What a manifest says of the panel: ``{"rows": 8, "columns": 8}``. Raises `DataError`, naming the file."""
        known = {"rows", "columns", "polarizations", "order"}
        if not isinstance(value, Mapping) or not {"rows", "columns"} <= value.keys() <= known:
            said = ", ".join(map(str, value)) if isinstance(value, Mapping) else shown(value)
            raise DataError(f'{where}: the panel is {said}; expected like {{"rows": 8, "columns": 8}}')
        try:
            return cls(**value)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`, of a panel whose elements are in our order."""
        return {"rows": self.rows, "columns": self.columns, "polarizations": self.polarizations}

    @property
    def elements(self) -> int:
        """Places of elements, which is how many weights a beam has."""
        return self.rows * self.columns

    @property
    def ports(self) -> int:
        """Elements of all polarisations: the last dimension of a channel in a file."""
        return self.elements * self.polarizations

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns}" + (" with two polarizations" if self.polarizations == 2 else "")

    def positions(self) -> np.ndarray:
        """Where the elements are, (elements, 2): to the left and up from the middle, in wavelengths."""
        column, row = np.divmod(np.arange(self.elements), self.rows)
        return np.stack([(column - (self.columns - 1) / 2) / 2, ((self.rows - 1) / 2 - row) / 2], axis=1)

    def steering(self, azimuth: Any, zenith: Any) -> np.ndarray:
        """
        The beams that point into directions in degrees, (..., elements) complex, of unit norm.

        A channel of a single path in that direction has all of its power in this beam: ``|h @ w|^2 = |h|^2``.
        """
        azimuth, zenith = np.radians(azimuth), np.radians(zenith)
        along = np.stack([np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], axis=-1)  # (..., 2)
        return np.exp(-2j * np.pi * (along @ self.positions().T)) / np.sqrt(self.elements)

    def pattern(self, beams: np.ndarray, azimuth: np.ndarray, zenith: np.ndarray) -> np.ndarray:
        """Array gain of beams (k, elements) over directions: (k, azimuths, zeniths), at most `elements`."""
        grid = self.steering(*np.meshgrid(azimuth, zenith, indexing="ij"))
        return self.elements * np.abs(np.einsum("aze,ke->kaz", grid.conj(), beams)) ** 2
