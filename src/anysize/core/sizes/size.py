"""A size: how much of a nested system to use, one value per axis (``dims=64,layers=4``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anysize.core.arguments import shown
from anysize.core.errors import SizeError

_RESERVED = frozenset({"weights", "name", "keys", "values", "items", "get", "parse", "replace"})


class Size(Mapping[str, int]):
    """
    How much of a nested system to use: a frozen mapping from axis to value.

    Prints as it is typed (``dims=64,layers=4``), reads as attributes (``size.dims``), and is partially ordered
    by containment: ``a <= b`` when both name the same axes and no value of `a` exceeds `b`'s.

    Raises `SizeError` if an axis is empty, reserved, or not given a positive whole number.
    """

    __slots__ = ("_values",)
    _values: dict[str, int]

    def __init__(self, values: Mapping[str, int] | None = None, /, **axes: int) -> None:
        if values is not None and not isinstance(values, Mapping):
            raise SizeError(f"{shown(values)} is not a size; write it like dims=64")
        merged = {**(values or {}), **axes}
        if not merged:
            raise SizeError("a size needs at least one axis, for example dims=64")
        for axis, value in merged.items():
            if not isinstance(axis, str) or not axis.isidentifier() or axis in _RESERVED:
                raise SizeError(f"{shown(axis)} cannot name an axis; use a word such as dims or layers")
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SizeError(f"{axis}={shown(value)} is not a size; expected a whole number of at least 1")
        object.__setattr__(self, "_values", merged)

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read a size as a user types it: ``"dims=64"`` or ``"layers=4,dims=64"``."""
        if not isinstance(text, str):
            raise SizeError(f"{shown(text)} cannot be read as a size; write it like dims=64")
        values: dict[str, int] = {}
        for part in text.split(","):
            axis, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not value.isdecimal():
                raise SizeError(f"cannot read {text!r} as a size; write it like dims=64 or layers=4,dims=64")
            if axis in values:
                raise SizeError(f"{text!r} gives {axis} twice")
            values[axis] = int(value)
        return cls(values)

    def replace(self, **axes: int) -> Size:
        """The same size with some values changed."""
        return Size({**self._values, **axes})

    def __getitem__(self, axis: str) -> int:
        return self._values[axis]

    def __getattr__(self, axis: str) -> int:
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
        return hash(frozenset(self._values.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self._values == other._values

    def __le__(self, other: Size) -> bool:
        return self.keys() == other.keys() and all(self[axis] <= other[axis] for axis in self)

    def __lt__(self, other: Size) -> bool:
        return self <= other and self != other

    def __ge__(self, other: Size) -> bool:
        return other <= self

    def __gt__(self, other: Size) -> bool:
        return other < self

    def __str__(self) -> str:
        return ",".join(f"{axis}={value}" for axis, value in self._values.items())

    def __repr__(self) -> str:
        return f"Size({', '.join(f'{axis}={value}' for axis, value in self._values.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Size, (self._values,))
