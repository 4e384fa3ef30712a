"""
How sizes are written: one grammar wherever one is typed, read or printed.

    menu   = entry { "," entry }                  2:24,4:96              several sizes
    entry  = [ name "=" ] value { ":" value }     2:24   demi=2:24       one size, with a name if it likes
    value  = [ axis "=" ] number                  24     dims=24         a bare one belongs to the axis of its place
    number = whole [ "/" whole ]                  24     1/16            a whole number, or a share of the whole

One size may also have commas, as it prints: entries without names that give no axis twice are one size, so that
``layers=4,dims=64`` is ``layers=4:dims=64``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from anysize.core.arguments import shown
from anysize.core.errors import SizeError, nearest

Value = int | Fraction
"""How much of one axis: a whole number of at least 1, or a share above 0 and at most 1."""

Entry = tuple[str, dict[str, Value]]
"""A size as it was typed: its name ("" without one), and its values."""

_NUMBER = re.compile(r"(\d{1,18})(?:\s*/\s*(\d{1,18}))?")


def read(text: str, axes: Sequence[str] = (), *, named: bool = False) -> list[Entry]:
    """
    The sizes in a text. Bare values need `axes`, and then one value for each of these, in their order.

    With `named`, a word before the first value that is no axis names the size.
    Raises `SizeError`, naming the entry that cannot be read and what was expected.
    """
    entries = [_entry(part.strip(), axes, named) for part in text.split(",")]
    together = [axis for _, values in entries for axis in values]
    if len(set(together)) < len(together) or any(name for name, _ in entries):
        return entries
    return [("", {axis: value for _, values in entries for axis, value in values.items()})]


def read_one(text: str, axes: Sequence[str] = ()) -> dict[str, Value]:
    """The values of the one size in a text, as `read` reads it. Raises `SizeError` if there are more."""
    entries = read(text, axes)
    if len(entries) > 1:
        together = [axis for _, values in entries for axis in values]
        raise SizeError(f"{shown(text)} gives {max(together, key=together.count)} twice; write one size")
    return entries[0][1]


def written(value: Value) -> str:
    """A value as it is typed; a share always with its stroke, so that the whole is 1/1 and not the number 1."""
    return f"{value.numerator}/{value.denominator}" if isinstance(value, Fraction) else str(value)


def value_of(axis: str, given: object) -> Value:
    """A value as it is handed over, a share also as text ("1/16"). Raises `SizeError` if it is none."""
    value = _number(given) if isinstance(given, str) and "/" in given else given
    if isinstance(value, Fraction) and 0 < value <= 1:
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        share = isinstance(given, Fraction) or value is not given
        kinds = "expected a whole number of at least 1, or a share such as 1/4"
        expected = "a share is above 0 and at most 1" if share else kinds
        raise SizeError(f"{axis}={shown(given)} is not a size; {_as_share(given) or expected}")
    return value


def _entry(text: str, axes: Sequence[str], named: bool) -> Entry:
    parts = text.split(":")
    name, equals, rest = (piece.strip() for piece in parts[0].partition("="))
    if named and equals and ("=" in rest or name not in axes):
        parts[0] = rest
    else:
        name = ""
    values: dict[str, Value] = {}
    bare = False
    for place, part in enumerate(parts):
        axis, equals, number = (piece.strip() for piece in part.rpartition("="))
        value = _number(number)
        if value is None or not (equals or axes):
            raise _unreadable(text, _as_share(number), axes)
        if not equals:
            bare, axis = True, axes[place] if place < len(axes) else ""
        if axis in values:
            raise SizeError(f"{shown(text)} gives {axis} twice")
        if axis and axes and axis not in axes:
            raise SizeError(f"cannot read {shown(text)} as a size; there is no axis {axis!r}; {nearest(axis, axes)}")
        values[axis] = value
    if bare and values.keys() != set(axes):
        raise _unreadable(text, "", axes)
    return name, values


def _unreadable(text: str, instead: str, axes: Sequence[str]) -> SizeError:
    numbers = ["2", "24", *["4"] * len(axes)][: len(axes)] if len(axes) > 1 else ["64"]
    full = ",".join(f"{axis}={one}" for axis, one in zip(axes or ("dims",), numbers, strict=True))
    usual = f"write it like {':'.join(numbers)} or {full}" if axes else f"write it like {full} or layers=4,{full}"
    return SizeError(f"cannot read {shown(text)} as a size; {instead or usual}")


def _number(text: str) -> Value | None:
    found = _NUMBER.fullmatch(text.strip())
    if found is None or (found[2] and not int(found[2])):
        return None
    return Fraction(int(found[1]), int(found[2])) if found[2] else int(found[1])


def _as_share(given: object) -> str:
    """What to write in place of a decimal between 0 and 1, else nothing."""
    try:
        decimal = float(given) if isinstance(given, float | str) else math.nan
    except ValueError:
        return ""
    return f"write {written(Fraction(decimal).limit_denominator(1000))}" if 0.0005 < decimal < 1 else ""
