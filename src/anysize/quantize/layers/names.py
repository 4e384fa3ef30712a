"""Layers by the names that people give them: blocks, patterns, and those that engines fuse into one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from torch import nn

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.quantize.layers.choosing import stacks

FUSED = (("q", "k", "v", "query", "key", "value", "q_proj", "k_proj", "v_proj", "q_lin", "k_lin", "v_lin"),
         ("gate_proj", "up_proj", "w1", "w3"))  # fmt: skip
"""Layers that engines fuse into one, which needs them at one width."""


def blocks(inner: nn.Module, layers: Collection[str]) -> dict[str, list[str]]:
    """Block, as ``layers.3``, or a layer's own name outside the stack -> the names of its layers."""
    paths = stacks(inner)
    found: dict[str, list[str]] = {}
    for name in layers:
        path = next((path for path in paths if name.startswith(f"{path}.")), None)
        short = name if path is None else f"layers.{name.removeprefix(f'{path}.').partition('.')[0]}"
        found.setdefault(short, []).append(name)
    return found


def aliases(inner: nn.Module, layers: Collection[str]) -> dict[str, str]:
    """Layer name -> the same beginning with ``layers.``, where it stands in a block."""
    found = {}
    for path in stacks(inner):
        for name in layers:
            if name.startswith(f"{path}."):
                found[name] = f"layers.{name.removeprefix(f'{path}.')}"
    return {name: found.get(name, name) for name in layers}


def resolve(inner: nn.Module, layers: Collection[str], nesting: Nesting, widths: Mapping[str, int]) -> dict[str, int]:
    """Layer name -> width, for every layer; see `Quantized.mix` for the keys and what is refused."""
    levels = nesting.values("bits")
    chosen = dict.fromkeys(layers, levels[-1])
    short = aliases(inner, layers)
    for key, bits in widths.items():
        if bits not in levels:
            raise SizeError(f"{key} cannot run at bits={bits}; {nesting.told('bits')}")
        names = [name for name, other in short.items() if _named(key, name) or _named(key, other)]
        if not names:
            raise AnysizeError(f"no layer is called {key!r}; there are: {', '.join(blocks(inner, layers))}")
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
