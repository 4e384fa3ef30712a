"""What a nesting is made of, checked: lists that grow, a weight and a name for each size, axes that are open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from anysize.core.arguments import shown
from anysize.core.errors import SizeError, nearest
from anysize.core.sizes.menu import Value, written
from anysize.core.sizes.size import Size


def listed(values: Any, what: str) -> tuple[Any, ...]:
    """The values as a tuple. Raises `SizeError` unless they are a list of some kind."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise SizeError(f"{what} are given as a list; got {shown(values)}")
    return tuple(values)


def increasing(axis: str, values: Iterable[Value | str]) -> tuple[Value, ...]:
    """The values of one axis, each larger than the one before. Raises `SizeError` if they are not."""
    given = [Size({axis: value}) for value in listed(values, axis)]
    if not given:
        raise SizeError(f"{axis} lists no sizes")
    for before, after in itertools.pairwise(given):
        check_of_one_kind(before, after)
        if not before < after:
            raise SizeError(f"{axis} must be increasing: {written(after[axis])} comes after {written(before[axis])}")
    return tuple(size[axis] for size in given)


def whole_numbers(axis: str, values: Iterable[int]) -> tuple[int, ...]:
    """The values of an axis that is counted, each larger than the one before. Raises `SizeError` if they are not."""
    given: tuple[Any, ...] = increasing(axis, values)
    if isinstance(given[-1], Fraction):
        raise SizeError(f"{axis} is counted in whole numbers; got {written(given[-1])}")
    return given


def check_of_one_kind(one: Size, other: Size) -> None:
    """Raise `SizeError` if an axis has a share in one size and a whole number in the other."""
    for axis in set(one.shares) ^ set(other.shares):
        number, share = (written(size[axis]) for size in sorted((one, other), key=lambda size: axis in size.shares))
        hint = "; write 1/1 for the whole" if number == "1" else ""
        raise SizeError(f"{axis} lists shares or whole numbers, not some of each: {number} beside {share}{hint}")


def checked_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """A weight for each of `count` sizes, 1 unless given."""
    if weights is None:
        return (1.0,) * count
    given = listed(weights, "weights")
    if len(given) != count:
        raise SizeError(f"{len(given)} weights for {count} sizes; give one weight per size")
    for weight in given:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
            raise SizeError(f"weight {shown(weight)} is not a finite number of at least 0")
    return tuple(map(float, given))


def checked_names(names: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    """A name for each of `count` sizes, or none at all."""
    if names is None:
        return None
    given = listed(names, "names")
    if len(given) != count:
        raise SizeError(f"{len(given)} names for {count} sizes; give one name per size")
    for name in given:
        if not isinstance(name, str) or not name.isidentifier() or given.count(name) > 1:
            raise SizeError(f"{shown(name)} cannot name a size; use one word for each, such as small, tall")
    return given


def checked_open(axes: Iterable[object], full: Size, names: Sequence[str] | None) -> tuple[str, ...]:
    """The open axes, in the order of the nesting's own."""
    given = listed(axes, "open axes")
    for axis in given:
        if not isinstance(axis, str) or axis not in full:
            raise SizeError(f"there is no axis {shown(axis)} to be open; {nearest(str(axis), full)}")
    if given and names is not None:
        raise SizeError("a menu with names has no open axes, since a size between its own would have no name")
    return tuple(axis for axis in full if axis in given)
