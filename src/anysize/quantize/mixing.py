"""
Mix'n'Match: a width per layer, without any training (MatQuant, section 3.3).

Patterns follow the paper (pyramid: narrow at both ends of the stack, wide in the middle; and three others); by measured
sensitivity is ours. A block is the smallest unit, since engines fuse layers within it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from anysize.core.arguments import TEXT, number, takes
from anysize.core.errors import AnysizeError, SizeError
from anysize.quantize.choosing import stacks

if TYPE_CHECKING:
    from anysize.quantize.model import Quantized

FUSED = (("q", "k", "v", "query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin"),
         ("gate_proj", "up_proj", "w1", "w3"))  # fmt: skip
"""Layers that engines fuse into one, which needs them at one width."""


def blocks(model: Quantized) -> dict[str, list[str]]:
    """Block, as ``layers.3``, or a layer's own name outside the stack -> the names of its layers."""
    paths = stacks(model.inner)
    found: dict[str, list[str]] = {}
    for name in model.layers():
        path = next((path for path in paths if name.startswith(f"{path}.")), None)
        short = name if path is None else f"layers.{name.removeprefix(f'{path}.').partition('.')[0]}"
        found.setdefault(short, []).append(name)
    return found


def aliases(model: Quantized) -> dict[str, str]:
    """Layer name -> the same beginning with ``layers.``, where it stands in a block."""
    found = {}
    for path in stacks(model.inner):
        for name in model.layers():
            if name.startswith(f"{path}."):
                found[name] = f"layers.{name.removeprefix(f'{path}.')}"
    return {name: found.get(name, name) for name in model.layers()}


def resolve(model: Quantized, widths: Mapping[str, int]) -> dict[str, int]:
    """Layer name -> width, for every layer; see `Quantized.mix` for the keys and what is refused."""
    levels = model.nesting.levels("bits")
    chosen = dict.fromkeys(model.layers(), levels[-1])
    short = aliases(model)
    for key, bits in widths.items():
        if bits not in levels:
            raise SizeError(f"{key} cannot run at bits={bits}; {model.nesting.told('bits')}")
        names = [name for name, other in short.items() if _named(key, name) or _named(key, other)]
        if not names:
            raise AnysizeError(f"no layer is called {key!r}; there are: {', '.join(blocks(model))}")
        chosen.update(dict.fromkeys(names, bits))
    _keep_fused(chosen)
    return chosen


def _named(key: str, name: str) -> bool:
    return name == key or name.startswith(f"{key}.") or fnmatchcase(name, key)


def _keep_fused(widths: Mapping[str, int]) -> None:
    for group in FUSED:
        together: dict[str, set[int]] = {}
        for name, bits in widths.items():
            home, _, last = name.rpartition(".")
            if last in group:
                together.setdefault(home, set()).add(bits)
        for home, found in together.items():
            if len(found) > 1:
                raise AnysizeError(
                    f"layers of {home} that engines fuse would have widths {', '.join(map(str, sorted(found)))}; "
                    "give them one"
                )


@takes(pattern=TEXT, average=number(above=0))
def by_pattern(model: Quantized, pattern: str, average: float, levels: tuple[int, ...] = (2, 4, 8)) -> dict[str, int]:
    """
    Block -> width for a pattern of the stack: ``pyramid``, ``reverse``, ``increasing`` or ``decreasing``.

    Widths fall along the pattern's order, as in the paper: the pyramid has the widest in the middle, the narrowest at
    both ends, the others between. Of all such mixtures it is the one nearest below `average` (the mean width over
    weights), and of those the one whose levels have the most equal numbers of blocks. Raises `AnysizeError` for other
    patterns, `SizeError` for an average below the narrowest level.
    """
    names = [name for name in blocks(model) if re.fullmatch(r"layers\.\d+", name)]
    middle = (len(names) - 1) / 2
    orders = {
        "pyramid": lambda place: abs(place - middle),
        "reverse": lambda place: -abs(place - middle),
        "increasing": lambda place: -place,
        "decreasing": lambda place: place,
    }
    if pattern not in orders:
        raise AnysizeError(f"no pattern is called {pattern!r}; there are: {', '.join(orders)}")
    order = [names[place] for place in sorted(range(len(names)), key=orders[pattern])]
    budget = _budget(model, order, average, levels)
    weights = _weights(model)
    before = [0, *itertools.accumulate(weights[name] for name in order)]  # weights of the first n blocks in order
    widest_first = tuple(reversed(levels))

    def spent(counts: tuple[int, ...]) -> int:
        ends = [0, *itertools.accumulate(counts)]
        return sum(
            bits * (before[end] - before[start])
            for bits, (start, end) in zip(widest_first, itertools.pairwise(ends), strict=True)
        )

    within = (counts for counts in _shares(len(order), len(levels)) if spent(counts) <= budget)
    best = max(within, key=lambda counts: (spent(counts), -sum(count**2 for count in counts)))
    widths = [bits for bits, count in zip(widest_first, best, strict=True) for _ in range(count)]
    return dict(zip(order, widths, strict=True))


def _shares(blocks: int, levels: int) -> Iterator[tuple[int, ...]]:
    """All ways to share blocks among levels."""
    if levels == 1:
        yield (blocks,)
        return
    for first in range(blocks + 1):
        for rest in _shares(blocks - first, levels - 1):
            yield (first, *rest)


def sensitivity(model: Quantized, quality: Callable[[Quantized], float], bits: int = 2) -> dict[str, float]:
    """Block -> what is lost of ``quality(view)`` when it alone runs at `bits` and all others at the widest."""
    whole = quality(model.at())
    return {name: whole - quality(model.mix({name: bits})) for name in blocks(model)}


def by_sensitivity(
    model: Quantized, loss: Mapping[str, float], average: float, levels: tuple[int, ...] = (2, 4, 8)
) -> dict[str, int]:
    """Block -> width, widening first the blocks whose narrowing costs most per weight; `loss` from `sensitivity`."""
    weights = _weights(model)
    order = sorted(loss, key=lambda name: -loss[name] / weights[name])
    budget = _budget(model, order, average, levels)
    chosen = dict.fromkeys(order, levels[0])
    spent = sum(levels[0] * weights[name] for name in order)
    for name in order:  # each in turn as wide as the budget lets it
        for bits in reversed(levels):
            extra = (bits - chosen[name]) * weights[name]
            if spent + extra <= budget:
                chosen[name], spent = bits, spent + extra
                break
    return chosen


def _budget(model: Quantized, order: list[str], average: float, levels: tuple[int, ...]) -> float:
    """Bits that the weights of these blocks may take together."""
    for bits in levels:
        model.nesting.resolve(bits=bits)
    if average < levels[0]:
        raise SizeError(f"no mixture has {average} bits on average; the narrowest width is {levels[0]}")
    weights = _weights(model)
    return average * sum(weights[name] for name in order) + 1e-9


def _weights(model: Quantized) -> dict[str, int]:
    layers = model.layers()
    return {
        name: sum(layers[one].rows * layers[one].features for one in names) for name, names in blocks(model).items()
    }


def average_bits(model: Quantized) -> float:
    """Mean width over the quantised weights of this view, scales left out, as the paper's plots count."""
    layers = model.layers()
    count = {name: part.rows * part.features for name, part in layers.items()}
    width = {name: model.size.bits if model.mixture is None else model.mixture[name] for name in layers}
    return sum(count[name] * width[name] for name in layers) / sum(count.values())
