"""Pretrain: text in, an ordinary encoder checkpoint out, that `fit` and other libraries take as their base."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anysize.core.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.fitting import produce
from anysize.core.options import configured
from anysize.core.plain_text import read_texts
from anysize.core.registry import find


def pretrain(
    data: str | Path | Data,
    *,
    method: str | Any = "smae",
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    **options: Any,
) -> Any:
    """
    Train an encoder on unlabelled text and, if `out` is given, save it there; returns what the method makes.

    `method` is a registered name (``smae``, ``mlm``), with `options` as its fields, or a method object. As in `fit`,
    work in progress is kept in ``OUT.partial``, and `resume` continues it to the very weights of an undisturbed run.
    """
    if isinstance(method, str):
        method = configured(find("pretrainers", method), method, options)
    elif options:
        raise AnysizeError("options belong to a method's name; set them on the method object instead")
    return produce(method, lambda: read_texts(data), out, resume, marker=method.marker, load=method.load)
