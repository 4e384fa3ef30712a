"""What a method on pictures starts from: a tower by name, or a saved image encoder; and the pictures of data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.backbones.vision.named import open_tower
from anysize.backbones.vision.squares import readable
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.manifest import MANIFEST
from anysize.core.progress import bar
from anysize.core.sizes.nesting import Nesting
from anysize.core.verbs.load import load
from anysize.vision.encoder.model import ImageEncoder


def opened(name: str, *, from_scratch: bool = False, layers: int | None = None) -> ImageEncoder:
    """
    A saved image encoder, or the tower of a name as one of its full width alone.

    Raises `AnysizeError` for another kind of saved model, or a name that is none.
    """
    if os.path.exists(os.path.join(name, MANIFEST)):
        model = load(name)
        if not isinstance(model, ImageEncoder):
            raise AnysizeError(f"{name} holds a {model.kind}; expected an image encoder, or a model such as timm:NAME")
        if from_scratch or layers is not None:
            raise AnysizeError(f"{name} is a saved model, which is neither made anew nor cut in layers")
        return model
    tower = open_tower(name, from_scratch=from_scratch, layers=layers)
    return ImageEncoder(Nesting(dims=(tower.width,)), tower)


def learnt_from(
    data: Data, side: int, crop: float, *, strict: bool, workdir: Path | None = None
) -> tuple[torch.Tensor, list[Any] | None, str]:
    """
    The squares (n, 3, side, side) uint8 of the pictures of data, a label for each, and a note on what was left out.

    The note is told on standard error too. More than a gigabyte lies in a file in `workdir`, if there is one. Raises
    `DataError` if the data are no pictures, or fewer than two are left.
    """
    items = data.items()
    if items.of != "image":
        raise DataError(f"{data.name} holds {items.holds}; expected pictures, in a folder or a table of files")
    found, kept, note = readable(items.rows, side, crop, strict=strict, folder=workdir)
    if note and os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"note: {note}\n")
    if len(found) < 2:
        raise DataError(f"{data.name} has {len(found)} picture that can be read; give at least 2, better hundreds")
    labels = None if data.labels is None else [data.labels[place] for place in kept]
    return found, labels, note


@torch.no_grad()
def tokens_of(model: ImageEncoder, squares: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """The tower's own patch tokens (n, rows, columns, width) of squares of pixels."""
    tower = model.tower.eval()
    return torch.cat([tower(tower.prepared(part)).patches.float().cpu() for part in squares.split(batch)])


@torch.no_grad()
def pooled_of(model: ImageEncoder, squares: torch.Tensor, batch: int = 64) -> np.ndarray:
    """The tower's vectors (n, width) of squares of pixels."""
    tower = model.tower.eval()
    with bar(len(squares), "encode", " pictures", leave=False) as done:
        parts = []
        for part in squares.split(batch):
            parts.append(tower(tower.prepared(part)).pooled.float().cpu())
            done.update(len(part))
    return torch.cat(parts).numpy()
