"""Questions about pictures, as they are asked, and once their pictures have been seen."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from anysize.backbones.vision.prompts import Prompt
from anysize.core.errors import DataError


class Asked(NamedTuple):
    """A question about one picture."""

    picture: Any
    """A file, an array or a Pillow image."""
    question: str
    answer: str | None = None


class Read(NamedTuple):
    """Questions, and all tokens of their pictures."""

    prompts: list[Prompt]
    tokens: torch.Tensor
    """(pictures, all, width)."""
    which: list[int]
    """The picture of each question."""


def asked(row: Any) -> Asked:
    """A question about one picture of parts: ``[{"image": file}, {"text": words}]``. Raises `DataError` for others."""
    if isinstance(row, Asked):
        return row
    pictures = [part["image"] for part in row if "image" in part]
    words = " ".join(str(part["text"]) for part in row if "text" in part).strip()
    if len(pictures) != 1 or not words:
        raise DataError(
            f"expected a question about one picture; got {len(pictures)} pictures and "
            f"{'no question' if not words else repr(words[:80])}"
        )
    return Asked(pictures[0], words)


def known(picture: Any) -> Any:
    """By which a picture is known to be the same: its path or bytes, else that it is one object."""
    return picture if isinstance(picture, (str, bytes, Path)) else id(picture)


def room(shape: tuple[int, ...], like: torch.Tensor, folder: Path | None) -> torch.Tensor:
    """An empty tensor of this shape, in a file of its own if there is a folder."""
    if folder is None:
        return like.new_empty(shape)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=like.dtype).view(shape)
