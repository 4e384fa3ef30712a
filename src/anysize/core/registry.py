"""
How the face finds a family: by name, through Python entry points, imported only when used.

Groups: ``anysize.methods`` (how to fit), ``anysize.models`` (how to load), ``anysize.evaluators`` (how to measure),
``anysize.layouts`` (a file by which another library's directory is known, and how to read it), ``anysize.readers`` (a
pattern of names by which a folder or a file that is no table is known, or a name of data to draw (``uma:[0-9]*``), and
what makes `Data` of it), ``anysize.learners`` (a method and a kind of items, ``mrl:image``: what does that
method's work for such items, in place of what the method runs).
A new system, ours or a stranger's package, is one file and one line in its ``pyproject.toml``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import operator
from typing import Any

from anysize.core.errors import AnysizeError, nearest


def names(group: str) -> list[str]:
    """The names registered in a group, sorted."""
    return sorted({entry.name for entry in importlib.metadata.entry_points(group=f"anysize.{group}")})


def find(group: str, name: str) -> Any:
    """Import what is registered under a name. Raises `AnysizeError`, naming the nearest there is, or all."""
    found = list(importlib.metadata.entry_points(group=f"anysize.{group}", name=name))
    if not found:
        raise AnysizeError(f"no {group.removesuffix('s')} is called {name!r}; {nearest(name, names(group))}")
    return found[0].load()


def named(name: str) -> Any:
    """What ``"module:name"`` names: so a class names what is built on it, which it cannot import."""
    module, _, attribute = name.partition(":")
    return operator.attrgetter(attribute)(importlib.import_module(module))
