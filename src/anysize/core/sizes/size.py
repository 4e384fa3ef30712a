"""A size: how much of a nested system to use, one value per axis (``dims=64,layers=4``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from anysize.core.arguments import shown
from anysize.core.errors import SizeError
from anysize.core.sizes.menu import Value, read_one, value_of, written

_RESERVED = frozenset({"weights", "open", "name"})  # beside the attributes of a size


class Size(Mapping[str, Any]):  # whoever nests an axis knows which of the two kinds its values are
    """
    How much of a nested system to use: a frozen mapping from axis to value.

    A value is a whole number of at least 1 (``dims=64``), or a share of the whole, above 0 and at most 1
    (``audio=1/16``; in Python ``Fraction(1, 16)`` or ``"1/16"``). The two never mix: 1/1 is all there is and prints so,
    1 is one of something, and neither equals or contains the other.

    Prints as it is typed (``dims=64,layers=4``), reads as attributes (``size.dims``), and is partially ordered
    by containment: ``a <= b`` when both name the same axes and no value of `a` exceeds `b`'s.

    Raises `SizeError` if an axis is empty, reserved, or given neither of the two.
    """

    __slots__ = ("_values",)
    _values: dict[str, Value]

    def __init__(self, values: Mapping[str, Value | str] | None = None, /, **axes: Value | str) -> None:
        if values is not None and not isinstance(values, Mapping):
            raise SizeError(f"{shown(values)} is not a size; write it like dims=64")
        merged = {**(values or {}), **axes}
        if not merged:
            raise SizeError("a size needs at least one axis, for example dims=64")
        for axis in merged:
            if not isinstance(axis, str) or not axis.isidentifier() or axis in _RESERVED or hasattr(Size, axis):
                raise SizeError(f"{shown(axis)} cannot name an axis; use a word such as dims or layers")
        object.__setattr__(self, "_values", {axis: value_of(axis, value) for axis, value in merged.items()})

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read a size as a user types it: ``"dims=64"`` or ``"layers=4,dims=64"``."""
        if not isinstance(text, str):
            raise SizeError(f"{shown(text)} cannot be read as a size; write it like dims=64")
        return cls(read_one(text))

    def to_json(self) -> dict[str, int | str]:
        """As plain values, a share as text: ``{"audio": "1/4", "dims": 64}``; `Size(...)` reads them back."""
        return {axis: value if isinstance(value, int) else written(value) for axis, value in self._values.items()}

    @property
    def shares(self) -> tuple[str, ...]:
        """The axes whose value is a share."""
        return tuple(axis for axis, value in self._values.items() if isinstance(value, Fraction))

    @property
    def bare(self) -> str:
        """As it is typed where the axes are known: ``64``, ``2:24``."""
        return ":".join(map(written, self._values.values()))

    def replace(self, **axes: Value | str) -> Size:
        """The same size with some values changed."""
        return Size({**self._values, **axes})

    def __getitem__(self, axis: str) -> Any:
        return self._values[axis]

    def __getattr__(self, axis: str) -> Any:
        try:
            return object.__getattribute__(self, "_values")[axis]
        except (KeyError, AttributeError):
            raise AttributeError(f"this size has no axis {axis!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Size is frozen; use size.replace(...)")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self.to_json().items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.to_json() == other.to_json()

    def __le__(self, other: Size) -> bool:
        same = self.keys() == other.keys() and set(self.shares) == set(other.shares)
        return same and all(self[axis] <= other[axis] for axis in self)

    def __lt__(self, other: Size) -> bool:
        return self <= other and self != other

    def __ge__(self, other: Size) -> bool:
        return other <= self

    def __gt__(self, other: Size) -> bool:
        return other < self

    def __str__(self) -> str:
        return ",".join(f"{axis}={written(value)}" for axis, value in self._values.items())

    def __repr__(self) -> str:
        return f"Size({', '.join(f'{axis}={value!r}' for axis, value in self.to_json().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Size, (self._values,))
