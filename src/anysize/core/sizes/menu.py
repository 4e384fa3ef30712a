"""A menu of sizes as people type it: ``2:24,4:96,6:384``, with names if they like, ``demi=2:24,tall=6:384``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anysize.core.errors import SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


def menu(entries: str | Iterable[str | Sequence[int]], axes: Sequence[str] = ("layers", "dims")) -> Nesting:
    """
    The nesting of a menu: text, or a list of entries that are text or tuples of whole numbers, one per axis.

    Raises `SizeError`, naming the entry that is not one, or if some entries have names and others have none.
    """
    listed = entries.split(",") if isinstance(entries, str) else list(entries)
    sizes, names = [], []
    for entry in listed:
        name, values = _entry(entry)
        if len(values) != len(axes):
            raise SizeError(f"{entry!r} is no size of a menu; write {':'.join(axes)}, for example 2:24")
        sizes.append(Size(dict(zip(axes, values, strict=True))))
        names.append(name)
    if any(names) and not all(names):
        raise SizeError("some sizes of this menu have names and others have none; name all or none")
    return Nesting.pairs(sizes, names=names if any(names) else None)


def diagonal(depth: int, width: int, count: int = 6) -> Nesting:
    """
    The menu of Starbucks (arXiv 2410.13230) for a model of any shape: depth and width grow together.

    Layers in even steps; dims are the width and the powers of two below it. (12, 768) gives 2:32 up to 12:768.
    """
    count = min(count, depth)
    powers = [2**power for power in range(20) if 2**power < width]
    dims = [*powers, width][-count:]
    layers = [round(depth * (place + 1) / count) for place in range(count)][-len(dims) :]
    return Nesting.pairs([Size(layers=n, dims=d) for n, d in zip(layers, dims, strict=True)])


def _entry(entry: str | Sequence[int]) -> tuple[str, tuple[int, ...]]:
    if not isinstance(entry, str):
        return "", tuple(entry)
    name, equals, values = (part.strip() for part in entry.rpartition("="))
    parts = values.split(":")
    if not all(part.strip().isdecimal() for part in parts):
        return name, ()
    return name if equals else "", tuple(int(part) for part in parts)


def within(sizes: Nesting, depth: int, width: int) -> Nesting:
    """These sizes, if a model of this depth and width has them all. Raises `SizeError` if not."""
    if sizes.full.layers > depth or sizes.full.dims > width:
        raise SizeError(f"{sizes.full} exceeds the model, which has layers={depth},dims={width}")
    return sizes
