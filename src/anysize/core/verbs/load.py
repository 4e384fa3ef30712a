"""Load: a saved model of any kind, at any of its sizes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from anysize.core.arguments import PATH, takes
from anysize.core.errors import CheckpointError, refused_as_damaged
from anysize.core.files import read_object
from anysize.core.model.manifest import MANIFEST
from anysize.core.registry import find, names
from anysize.core.sizes.menu import Value
from anysize.core.sizes.size import Size

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel


@takes(path=PATH)
def load(path: str | os.PathLike[str], size: Size | str | None = None, /, **axes: Value | str) -> NestedModel:
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
