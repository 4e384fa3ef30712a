"""
Folders in other programs' formats, and the file by which one that we wrote is told from a user's own.

What other programs write (``modules.json``, ``corpus.jsonl``, weights) marks nothing: a user's own model has it too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.engine_checks import Exported
from anysize.core.files import write_json

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel

EXPORT = "anysize-export.json"
"""What `new_directory` is given as the marker of such a folder. Other programs do not read it."""


def whole(view: NestedModel, path: str | os.PathLike[str]) -> Exported:
    """The format ``anysize``: a view's size with all that it runs on, as `save` does."""
    view.extract().save(path)
    return Exported("anysize", how=f'anysize.load("{path}")')


def write_note(
    folder: Path, form: str, said: Mapping[str, Any] | None = None, exported: Exported | None = None
) -> None:
    """Leave the marker in a folder: its format, what more there is to say of it, what checked it, and notes."""
    write_json(folder / EXPORT, {"format": form, **(said or {}), **(exported or Exported(form)).told()})
