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
from fractions import Fraction
from typing import Any, Self

from anysize.core.arguments import shown
from anysize.core.errors import SizeError, nearest
from anysize.core.sizes import menu
from anysize.core.sizes.checks import (
    check_of_one_kind,
    checked_names,
    checked_open,
    checked_weights,
    increasing,
    listed,
)
from anysize.core.sizes.menu import Value, written
from anysize.core.sizes.size import Size


class Nesting(Sequence[Size]):
    """
    The sizes a system was trained for, smallest first, with their weights in the objective.

    ``Nesting(dims=(8, 16, 32))`` nests one axis; ``Nesting(layers=(2, 4), dims=(8, 16))`` is the grid of both;
    ``Nesting.pairs([Size(layers=2, dims=8), Size(layers=4, dims=16)])`` is a fixed menu (Starbucks), whose sizes may
    have `names`. Values must be strictly increasing; the last size must contain all others. Nothing is sorted,
    dropped or appended for you. An axis lists whole numbers or shares (``audio=("1/16", "1/1")``), not some of each.

    On an axis that is `open`, any number (or share) up to the largest runs too: it is offered, not listed, and nothing
    says that it was trained (``Nesting(tokens=(1, 16, 256), open=("tokens",))``; MQT, arXiv 2405.19315).

    Raises `SizeError`, naming the value that breaks the rule.
    """

    __slots__ = ("_sizes", "names", "open", "weights")
    names: tuple[str, ...] | None
    open: tuple[str, ...]

    def __init__(
        self, *, weights: Sequence[float] | None = None, open: Iterable[object] = (), **axes: Iterable[Value | str]
    ) -> None:
        if not axes:
            raise SizeError("a nesting needs at least one axis, for example Nesting(dims=(8, 16, 32))")
        values = {axis: increasing(axis, given) for axis, given in axes.items()}
        grid = [Size(dict(zip(values, place, strict=True))) for place in itertools.product(*values.values())]
        self._keep(tuple(grid), weights, None, open)

    def _keep(self, sizes: tuple[Size, ...], weights: Any, names: Any, open: Any) -> None:
        self._sizes = sizes
        self.weights = checked_weights(weights, len(sizes))
        self.names = checked_names(names, len(sizes))
        self.open = checked_open(open, sizes[-1], names)

    @classmethod
    def pairs(
        cls,
        sizes: Iterable[Size],
        weights: Sequence[float] | None = None,
        names: Sequence[str] | None = None,
        open: Iterable[str] = (),
    ) -> Nesting:
        """A fixed list of sizes, smallest first, of which the last contains every other; `names`, one a size."""
        given = listed(sizes, "sizes")
        if not given:
            raise SizeError("a nesting needs at least one size")
        for size in given:
            if not isinstance(size, Size):
                raise SizeError(f"a nesting is made of sizes, and {shown(size)} is none; write Size(layers=2, dims=8)")
        for size in given:
            if size.keys() != given[0].keys():
                raise SizeError(f"sizes of one nesting name the same axes; got {given[0]} beside {size}")
            check_of_one_kind(given[0], size)
        for size in given:
            if not size <= given[-1]:
                raise SizeError(f"the last size must contain all others, but {given[-1]} does not contain {size}")
        for before, after in itertools.pairwise(given):
            if after <= before:
                raise SizeError(f"sizes must grow: {after} comes after {before}")
        nesting = cls.__new__(cls)
        nesting._keep(given, weights, names, open)
        return nesting

    @classmethod
    def parse(cls, entries: str | Iterable[str | Sequence[Value]], axes: Sequence[str] = ("layers", "dims")) -> Nesting:
        """
        A menu as it is typed, ``"2:24,4:96"`` or ``"demi=2:24,tall=4:96"``, or its entries; or tuples, a value an axis.

        Raises `SizeError`, naming the entry that is not one, or if some entries have names and others have none.
        """
        given = [entries] if isinstance(entries, str) else listed(entries, "the sizes of a menu")
        if given and all(isinstance(entry, str) for entry in given):
            read = menu.read(",".join(given), axes, named=True)
            names = [name for name, _ in read]
            if any(names) and not all(names):
                raise SizeError("some sizes of this menu have names and others have none; name all or none")
            return cls.pairs([Size(values) for _, values in read], names=names if any(names) else None)
        for entry in given:
            if isinstance(entry, str) or not isinstance(entry, Sequence) or len(entry) != len(axes):
                raise SizeError(f"{shown(entry)} is no size of a menu; give {', '.join(axes)}, one number for each")
        return cls.pairs([Size(dict(zip(axes, entry, strict=True))) for entry in given])

    @property
    def trained(self) -> tuple[Size, ...]:
        """The sizes that were trained: those that are listed, without those that are only offered."""
        return tuple(size for size, weight in zip(self._sizes, self.weights, strict=True) if weight > 0)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes, in the order in which they were given."""
        return tuple(self._sizes[0])

    @property
    def full(self) -> Size:
        """The largest size: the whole system."""
        return self._sizes[-1]

    def values(self, axis: str) -> tuple[Any, ...]:
        """The distinct values that are listed along one axis, increasing: whole numbers, or shares."""
        if not isinstance(axis, str) or axis not in self.axes:
            raise SizeError(f"there is no axis {shown(axis)}; {nearest(str(axis), self.axes)}")
        return tuple(sorted({size[axis] for size in self._sizes}))

    def within(self, largest: Size) -> Self:
        """Itself, or `SizeError` if it is on other axes than the `largest` size of a model, or exceeds that."""
        if self.full.keys() != largest.keys():
            raise SizeError(f"sizes of this model name {', '.join(largest)}; got {self.full}")
        if not self.full <= largest:
            raise SizeError(f"{self.full} exceeds the model, which has {largest}")
        return self

    def resolve(self, size: Size | str | None = None, /, **axes: Value | str) -> Size:
        """
        The size that is asked for, if it is listed or lies on an open axis; also by its name or as it is typed, without
        the axes' names if all have values. Axes that are not named stay at their largest value.

        Raises `SizeError`, naming the sizes there are, if it was not trained for.
        """
        if isinstance(size, str):
            size = self._typed(size)
        if size is not None and not isinstance(size, Mapping):
            raise SizeError(f"{shown(size)} is not a size; write it like dims=64")
        asked = Size({**(size or {}), **axes}) if size is not None or axes else self.full
        for axis in asked:
            if axis not in self.axes:
                raise SizeError(f"this model has no axis {axis!r}; {nearest(axis, self.axes)}")
        wanted = self.full.replace(**asked)
        if not any(self._offers(known, wanted) for known in self._sizes):
            raise SizeError(self._refusal(asked, wanted))
        return wanted

    def _offers(self, known: Size, wanted: Size) -> bool:
        """Whether `wanted` is a listed size, or one below it on open axes alone."""
        return wanted <= known and known.replace(**{axis: wanted[axis] for axis in self.open}) == wanted

    def resolve_all(self, sizes: str | Iterable[Size | str] | None) -> list[Size]:
        """Each of `sizes` (a list, or as they are typed) as `resolve` gives it; without any, all that are listed."""
        if sizes is None:
            return list(self._sizes)
        if isinstance(sizes, str):
            parts = [part.strip() for part in sizes.split(",")]
            named = any(part.isidentifier() for part in parts)
            sizes = parts if named else [Size(values) for _, values in menu.read(sizes, self.axes)]
        given = listed(sizes, "sizes")
        if not given:
            raise SizeError("no size is named; leave sizes out for all of them")
        for size in given:
            if not isinstance(size, (str, Mapping)):
                raise SizeError(f"{shown(size)} is not a size; write it like dims=64")
        return [self.resolve(size) for size in given]

    def up_to(self, size: Size) -> Nesting:
        """The part of this nesting that `size` contains, and `size`: what is left after loading at that size."""
        largest = self.resolve(size)
        kept = {known: weight for known, weight in zip(self._sizes, self.weights, strict=True) if known <= largest}
        kept.setdefault(largest, 0.0)  # on an open axis it is offered, and nothing trained it
        names = None if self.names is None else [self.names[self._sizes.index(known)] for known in kept]
        return Nesting.pairs(list(kept), list(kept.values()), names, self.open)

    def _typed(self, text: str) -> Size:
        if self.names is not None and text in self.names:
            return self._sizes[self.names.index(text)]
        if text.isidentifier():
            there = f"they are {', '.join(self.names)}" if self.names else "they have no names; write it like dims=64"
            raise SizeError(f"no size is called {text!r}; {there}")
        return Size(menu.read_one(text, self.axes))

    def _refusal(self, asked: Size, wanted: Size) -> str:
        for axis, value in asked.items():
            values, share = self.values(axis), isinstance(value, Fraction)
            if share != isinstance(values[-1], Fraction):
                kinds = ("shares of the whole, such as 1/4", "whole numbers")
                return f"{axis} is nested in {kinds[share]}; got {written(value)}"
            if value not in values and (value > values[-1] or axis not in self.open):
                below = [written(known) for known in values if known < value]
                above = [written(known) for known in values if known > value]
                if below and above:
                    return f"{self.told(axis)}; {written(value)} lies between {below[-1]} and {above[0]}"
                return f"{self.told(axis)}; {written(value)} is {'larger' if below else 'smaller'} than all of them"
        return f"{_told('', '; ', map(str, self._sizes), set(map(str, self.trained)))}; {wanted} is not one of them"

    def told(self, axis: str) -> str:
        """The values along one axis in words, those that nothing trained apart: what a refusal begins with."""
        values = self.values(axis)
        trained = {written(size[axis]) for size in self.trained}
        said = _told(f"{axis} ", ", ", map(written, values), trained)
        what = "share" if isinstance(values[-1], Fraction) else "number"
        return f"{said}, and runs at any {what} up to {written(values[-1])}" if axis in self.open else said

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest; `from_json` reads them back."""
        named = {} if self.names is None else {"names": list(self.names)}
        opened = {"open": list(self.open)} if self.open else {}
        sizes = [size.to_json() for size in self._sizes]
        return {"sizes": sizes, "weights": list(self.weights), **named, **opened}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Nesting:
        """Read what `to_json` wrote, with every check of a new nesting."""
        if not isinstance(value, Mapping) or not {"sizes", "weights"} <= value.keys():
            raise SizeError(f"{shown(value)} does not describe a nesting; expected sizes and their weights")
        sizes = [Size(size) for size in listed(value["sizes"], "sizes")]
        return cls.pairs(sizes, value["weights"], value.get("names"), value.get("open", ()))

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
        return (self._sizes, self.weights, self.names, self.open)

    def __repr__(self) -> str:
        values = {axis: self.values(axis) for axis in self.axes}
        rest = "" if set(self.weights) == {1.0} else f", weights={self.weights}"
        rest += "" if self.names is None else f", names={self.names}"
        rest += f", open={self.open}" if self.open else ""
        grid = list(itertools.product(*values.values()))
        if self.names is None and [tuple(size.values()) for size in self._sizes] == grid:
            plain = {axis: tuple(Size({axis: one}).to_json()[axis] for one in given) for axis, given in values.items()}
            return f"Nesting({', '.join(f'{axis}={given}' for axis, given in plain.items())}{rest})"
        return f"Nesting.pairs([{', '.join(map(repr, self._sizes))}]{rest})"


def _told(what: str, between: str, every: Iterable[str], trained: Set[str]) -> str:
    words: dict[bool, list[str]] = {True: [], False: []}
    for one in every:
        words[one in trained].append(one)
    parts = [f"trained for {what}{between.join(words[True])}"] if words[True] else []
    parts += [f"offers {what}{between.join(words[False])} untrained"] if words[False] else []
    return " and ".join(parts)
