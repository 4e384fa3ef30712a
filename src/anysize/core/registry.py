"""
How the face finds a family: by name, through Python entry points, imported only when used.

Groups: ``anysize.methods`` (how to fit), ``anysize.models`` (how to load), ``anysize.evaluators`` (how to measure),
``anysize.encoders`` (what embeds texts, by a model's name), ``anysize.layouts`` (a file by which another library's
directory is known, and how to read it).
A new system, ours or a stranger's package, is one file and one line in its ``pyproject.toml``.
"""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.errors import AnysizeError, CheckpointError, refused_as_damaged
from anysize.core.files import read_object
from anysize.core.sizes import Size

if TYPE_CHECKING:
    from anysize.core.model import NestedModel

MANIFEST = "anysize.json"


def names(group: str) -> list[str]:
    """The names registered in a group, sorted."""
    return sorted({entry.name for entry in importlib.metadata.entry_points(group=f"anysize.{group}")})


def find(group: str, name: str) -> Any:
    """Import what is registered under a name. Raises `AnysizeError`, listing the names there are."""
    found = list(importlib.metadata.entry_points(group=f"anysize.{group}", name=name))
    if not found:
        raise AnysizeError(f"no {group.removesuffix('s')} is called {name!r}; there are: {', '.join(names(group))}")
    return found[0].load()


def load(path: str | os.PathLike[str], size: Size | str | None = None, /, **axes: int) -> NestedModel:
    """
    Load any saved nested model; with a size, only that size's bytes are read.

    A directory of another library whose layout is registered is read too, whole, and cut.
    Raises `CheckpointError` if `path` is not a model or is damaged, `SizeError` if the size was not trained for.
    """
    directory = Path(path)
    if not directory.exists():
        raise CheckpointError(f"{directory} does not exist; expected the folder of a saved model")
    if not (directory / MANIFEST).exists():
        for marker in names("layouts"):
            if (directory / marker).is_file():
                with refused_as_damaged(f"{directory} cannot be read"):
                    model: NestedModel = find("layouts", marker)(directory)
                chosen = model.nesting.resolve(size, **axes)
                return model if chosen == model.nesting.full else model.extract(chosen)
    manifest = read_object(directory / MANIFEST, "an anysize model")
    return find("models", str(manifest.get("kind"))).load(directory, size, **axes)
