"""What an edited model is cut to: an ordinary checkpoint with the edits in its weights, or the edits alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from anysize.backbones.causal import write
from anysize.core.engine_checks import Exported
from anysize.core.files import new_directory
from anysize.core.model.exporting import EXPORT, write_note
from anysize.editing.model.model import EditedLM

FILE = "edits.safetensors"


@dataclass(frozen=True)
class Without:
    """The options of both."""

    without: tuple[str, ...] = ()
    """Ids of edits to leave out, for example 3,7."""


def checkpoint(view: EditedLM, path: str | os.PathLike[str], *, without: Sequence[str] = ()) -> Exported:
    """Write the edited model as the Hugging Face model that it is, with its tokenizer."""
    made = view.without(list(without)) if without else view
    return write(made.language(), path)


def delta(view: EditedLM, path: str | os.PathLike[str], *, without: Sequence[str] = ()) -> Exported:
    """Write the edits alone: a file in a folder, which `anysize.editing.Delta` loads and applies to the base model."""
    made = view.without(list(without)) if without else view
    with new_directory(path, marker=EXPORT) as directory:
        write_note(directory, "delta", {"edits": len(made.requests), "base": view.told["base"]})
        made.delta().save(directory / FILE)
    return Exported("delta", how=f'anysize.editing.Delta.load("{path}/{FILE}").apply(lm)')
