"""
Nestings: which smaller systems one set of weights contains.

A `Size` says how much of a system to use, one value per axis (``dims=64,layers=4``). A `Nesting` is the list of
sizes a system was trained for. Every nested system of the literature is a choice of axis: Matryoshka
Representation Learning nests ``dims`` (Kusupati et al. 2022), 2DMSE ``layers`` x ``dims`` (Li et al. 2024),
MatQuant ``bits`` (Nair et al. 2025).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from anysize.core.arguments import shown
from anysize.core.errors import SizeError
from anysize.core.sizes.size import Size


class Nesting(Sequence[Size]):
    """
    The sizes a system was trained for, smallest first, with their weights in the objective.

    ``Nesting(dims=(8, 16, 32))`` nests one axis; ``Nesting(layers=(2, 4), dims=(8, 16))`` is the grid of both;
    ``Nesting.pairs([Size(layers=2, dims=8), Size(layers=4, dims=16)])`` is a fixed menu (Starbucks), whose sizes may
    have `names`. Values must be strictly increasing; the last size must contain all others. Nothing is sorted,
    dropped or appended for you.

    Raises `SizeError`, naming the value that breaks the rule.
    """

    __slots__ = ("_sizes", "names", "weights")
    names: tuple[str, ...] | None

    def __init__(self, *, weights: Sequence[float] | None = None, **axes: Iterable[int]) -> None:
        if not axes:
            raise SizeError("a nesting needs at least one axis, for example Nesting(dims=(8, 16, 32))")
        levels = {axis: _increasing(axis, values) for axis, values in axes.items()}
        grid = itertools.product(*levels.values())
        self._sizes = tuple(Size(dict(zip(levels, values, strict=True))) for values in grid)
        self.weights = _checked_weights(weights, len(self._sizes))
        self.names = None

    @classmethod
    def pairs(
        cls, sizes: Iterable[Size], weights: Sequence[float] | None = None, names: Sequence[str] | None = None
    ) -> Nesting:
        """A fixed list of sizes, smallest first, of which the last contains every other; `names`, one a size."""
        listed = _listed(sizes, "sizes")
        if not listed:
            raise SizeError("a nesting needs at least one size")
        for size in listed:
            if not isinstance(size, Size):
                raise SizeError(f"a nesting is made of sizes, and {shown(size)} is none; write Size(layers=2, dims=8)")
        for size in listed:
            if size.keys() != listed[0].keys():
                raise SizeError(f"sizes of one nesting name the same axes; got {listed[0]} beside {size}")
        for size in listed:
            if not size <= listed[-1]:
                raise SizeError(f"the last size must contain all others, but {listed[-1]} does not contain {size}")
        for before, after in itertools.pairwise(listed):
            if after <= before:
                raise SizeError(f"sizes must grow: {after} comes after {before}")
        nesting = cls.__new__(cls)
        nesting._sizes = listed
        nesting.weights = _checked_weights(weights, len(listed))
        nesting.names = _checked_names(names, len(listed))
        return nesting

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes, in the order in which they were given."""
        return tuple(self._sizes[0])

    @property
    def full(self) -> Size:
        """The largest size: the whole system."""
        return self._sizes[-1]

    def levels(self, axis: str) -> tuple[int, ...]:
        """The distinct values along one axis, increasing."""
        if not isinstance(axis, str) or axis not in self.axes:
            raise SizeError(f"there is no axis {shown(axis)}; it is nested in {', '.join(self.axes)}")
        return tuple(sorted({size[axis] for size in self._sizes}))

    def resolve(self, size: Size | str | None = None, /, **axes: int) -> Size:
        """
        The trained size that is asked for, also by its name or as it is typed; axes that are not named stay at their
        largest value.

        Raises `SizeError`, naming the sizes there are, if it was not trained for.
        """
        if isinstance(size, str):
            size = self._named(size)
        if size is not None and not isinstance(size, Mapping):
            raise SizeError(f"{shown(size)} is not a size; write it like dims=64")
        asked = Size({**(size or {}), **axes}) if size is not None or axes else self.full
        for axis in asked:
            if axis not in self.axes:
                raise SizeError(f"this model has no axis {axis!r}; it is nested in {', '.join(self.axes)}")
        wanted = self.full.replace(**asked)
        found = next((known for known in self._sizes if known == wanted), None)
        if found is None:
            raise SizeError(self._refusal(asked, wanted))
        return found

    def resolve_all(self, sizes: Iterable[Size | str] | None) -> list[Size]:
        """Each of `sizes` as `resolve` gives it; without any, all sizes of this nesting."""
        if sizes is None:
            return list(self._sizes)
        listed = _listed(sizes, "sizes")
        if not listed:
            raise SizeError("no size is named; leave sizes out for all of them")
        for size in listed:
            if not isinstance(size, (str, Mapping)):
                raise SizeError(f"{shown(size)} is not a size; write it like dims=64")
        return [self.resolve(size) for size in listed]

    def up_to(self, size: Size) -> Nesting:
        """The part of this nesting that `size` contains: what is left after loading at that size."""
        largest = self.resolve(size)
        kept = [place for place, known in enumerate(self._sizes) if known <= largest]
        names = None if self.names is None else [self.names[place] for place in kept]
        return Nesting.pairs([self._sizes[place] for place in kept], [self.weights[place] for place in kept], names)

    def _named(self, text: str) -> Size:
        if self.names is not None and text in self.names:
            return self._sizes[self.names.index(text)]
        if "=" in text:
            return Size.parse(text)
        there = f"they are {', '.join(self.names)}" if self.names else "they have no names; write it like dims=64"
        raise SizeError(f"no size is called {text!r}; {there}")

    def _refusal(self, asked: Size, wanted: Size) -> str:
        for axis in asked:
            levels = self.levels(axis)
            if asked[axis] not in levels:
                choices = self.told(axis)
                below = [level for level in levels if level < asked[axis]]
                above = [level for level in levels if level > asked[axis]]
                if below and above:
                    return f"{choices}; {asked[axis]} lies between {below[-1]} and {above[0]}"
                return f"{choices}; {asked[axis]} is {'larger' if below else 'smaller'} than all of them"
        trained = {size for size, weight in zip(self._sizes, self.weights, strict=True) if weight > 0}
        return f"{_told('', '; ', self._sizes, trained)}; {wanted} is not one of them"

    def told(self, axis: str) -> str:
        """The values along one axis in words, those that nothing trained apart: what a refusal begins with."""
        trained = {size[axis] for size, weight in zip(self._sizes, self.weights, strict=True) if weight > 0}
        return _told(f"{axis} ", ", ", self.levels(axis), trained)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest; `from_json` reads them back."""
        named = {} if self.names is None else {"names": list(self.names)}
        return {"sizes": [dict(size) for size in self._sizes], "weights": list(self.weights), **named}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Nesting:
        """Read what `to_json` wrote, with every check of a new nesting."""
        if not isinstance(value, Mapping) or not {"sizes", "weights"} <= value.keys():
            raise SizeError(f"{shown(value)} does not describe a nesting; expected sizes and their weights")
        sizes = [Size(size) for size in _listed(value["sizes"], "sizes")]
        return cls.pairs(sizes, value["weights"], value.get("names"))

    def __getitem__(self, index: Any) -> Any:
        return self._sizes[index]

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, size: object) -> bool:
        return size in self._sizes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nesting) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return (self._sizes, self.weights, self.names)

    def __repr__(self) -> str:
        grid = tuple(itertools.product(*(self.levels(axis) for axis in self.axes)))
        weights = "" if set(self.weights) == {1.0} else f", weights={self.weights}"
        if self.names is None and tuple(tuple(size.values()) for size in self._sizes) == grid:
            return f"Nesting({', '.join(f'{axis}={self.levels(axis)}' for axis in self.axes)}{weights})"
        names = "" if self.names is None else f", names={self.names}"
        return f"Nesting.pairs([{', '.join(map(repr, self._sizes))}]{weights}{names})"


def _listed(values: Any, what: str) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise SizeError(f"{what} are given as a list; got {shown(values)}")
    return tuple(values)


def _told(what: str, between: str, every: Sequence[object], trained: Set[Any]) -> str:
    parts = [(f"trained for {what}", "", trained), (f"offers {what}", " untrained", set(every) - trained)]
    words = [(before, [str(one) for one in every if one in part], after) for before, after, part in parts]
    return " and ".join(f"{before}{between.join(listed)}{after}" for before, listed, after in words if listed)


def _increasing(axis: str, values: Iterable[int]) -> tuple[int, ...]:
    listed = _listed(values, axis)
    if not listed:
        raise SizeError(f"{axis} lists no sizes")
    for value in listed:
        Size({axis: value})
    for before, after in itertools.pairwise(listed):
        if after <= before:
            raise SizeError(f"{axis} must be increasing: {after} comes after {before}")
    return listed


def _checked_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * count
    listed = _listed(weights, "weights")
    if len(listed) != count:
        raise SizeError(f"{len(listed)} weights for {count} sizes; give one weight per size")
    for weight in listed:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
            raise SizeError(f"weight {shown(weight)} is not a finite number of at least 0")
    return tuple(map(float, listed))


def _checked_names(names: Sequence[str] | None, count: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    listed = _listed(names, "names")
    if len(listed) != count:
        raise SizeError(f"{len(listed)} names for {count} sizes; give one name per size")
    for name in listed:
        if not isinstance(name, str) or not name.isidentifier() or listed.count(name) > 1:
            raise SizeError(f"{shown(name)} cannot name a size; use one word for each, such as small, tall")
    return listed
