"""Pictures as squares of pixels: what towers of timm, torchvision and transformers are given, without their loaders."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.backbones.vision.pictures import picture
from anysize.core.errors import AnysizeError, DataError, UnreadableError

IN_MEMORY = 1 << 30
"""Bytes of pixels that are held in memory where a file could hold them."""


def square(shown: Any, side: int, crop: float = 1.0) -> np.ndarray:
    """
    The middle of a picture, (3, side, side) uint8: its short side scaled to ``side / crop``, the middle cut out.

    With `crop` 0 the whole picture, squeezed into the square. Raises `DataError` for what is no picture.
    """
    from PIL.Image import Resampling

    opened = picture(shown)
    if crop:
        edge = min(opened.size) * crop
        left, top = (opened.width - edge) / 2, (opened.height - edge) / 2
        box = (left, top, left + edge, top + edge)
    else:
        box = (0, 0, opened.width, opened.height)
    made = opened.resize((side, side), Resampling.BICUBIC, box=box)
    return np.ascontiguousarray(np.asarray(made).transpose(2, 0, 1))


def numbered(rows: Sequence[Any], side: int, crop: float) -> Iterator[np.ndarray | DataError]:
    """Each as `square`, or the error that it is."""
    for row in rows:
        try:
            yield square(row, side, crop)
        except DataError as error:
            yield error


def squares(rows: Sequence[Any], side: int, crop: float = 1.0) -> torch.Tensor:
    """(n, 3, side, side) uint8. Raises `UnreadableError`, naming those that cannot be read."""
    every = list(numbered(rows, side, crop))
    found = [one for one in every if not isinstance(one, DataError)]
    if len(found) < len(every):
        broken = {place: one for place, one in enumerate(every) if isinstance(one, DataError)}
        raise UnreadableError(broken, [rows[place] for place in broken])
    return torch.from_numpy(np.stack(found)) if found else torch.zeros(0, 3, side, side, dtype=torch.uint8)


def readable(
    rows: Sequence[Any], side: int, crop: float = 1.0, *, strict: bool = False, folder: Path | None = None
) -> tuple[torch.Tensor, list[int], str]:
    """
    The squares of the pictures that can be read, their places, and a sentence on the others, empty if there are none.

    Where they need more than `IN_MEMORY` bytes and there is a `folder`, they lie in a file there, a mapped one. Raises
    `DataError` for the first broken one if `strict`, or if none is left.
    """
    shape, kept, broken = (len(rows), 3, side, side), list[int](), list[DataError]()
    if folder is not None and math.prod(shape) > IN_MEMORY:
        file = folder / f"squares-{os.environ.get('RANK', '0')}.npy"
        found: np.ndarray = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    else:
        found = np.empty(shape, np.uint8)
    for place, one in enumerate(numbered(rows, side, crop)):
        if isinstance(one, DataError):
            if strict:
                raise one
            broken.append(one)
        else:
            found[len(kept)] = one
            kept.append(place)
    if not kept:
        raise broken[0] if broken else DataError("there are no pictures to learn from")
    few = "; ".join(str(one) for one in broken[:3]) + (f"; and {len(broken) - 3} more" if len(broken) > 3 else "")
    said = f"{len(broken)} of {len(rows)} pictures are left out: {few}" if broken else ""
    return torch.from_numpy(found[: len(kept)]), kept, said


def normalised(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Squares (n, 3, side, side), uint8 or floats from 0 to 1, as floats of that mean and spread."""
    values = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    if len(mean) != 3 or len(std) != 3:
        raise AnysizeError(f"a tower sees three colours; got a mean of {len(mean)} and a spread of {len(std)}")
    shift, spread = (values.new_tensor(one).view(3, 1, 1) for one in (mean, std))
    return (values - shift) / spread


def side_of(pixels: Any, name: object) -> int:
    """The side of the squares that a tower sees. Raises `AnysizeError` if it sees no squares."""
    sides = {*pixels} if isinstance(pixels, (list, tuple)) else {pixels}
    if len(sides) > 1:
        seen = " x ".join(map(str, pixels))
        raise AnysizeError(f"{name} sees pictures of {seen} pixels; expected an image model that sees squares")
    return int(sides.pop())
