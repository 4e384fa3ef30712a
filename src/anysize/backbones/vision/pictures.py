"""Pictures as every model here sees them: RGB, upright, eight bits a channel, the first frame of several."""

from __future__ import annotations

import io
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.arguments import shown
from anysize.core.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_OPENING = threading.Lock()
LONGEST = 100
"""How many times longer than wide a picture may be: what scales the short side up would need memory for the long."""


def picture(source: str | os.PathLike[str] | bytes | Any) -> Image:
    """
    A picture of a file or its bytes, of an array (rows, columns[, 3]) of eight bits, or as Pillow has it.

    What is transparent becomes white; colours for print (CMYK) and 16-bit greys are converted; of an animation the
    first frame is taken. Raises `DataError` if it cannot be read, is empty, or is too long for its width.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "a picture"
    try:
        if isinstance(source, (str, os.PathLike, bytes)):
            with _opened(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                opened.load()
                found = _rgb(ImageOps.exif_transpose(opened))
        elif isinstance(source, np.ndarray):
            found = _rgb(Image.fromarray(_checked(source)))
        elif isinstance(source, Image.Image):
            found = _rgb(ImageOps.exif_transpose(source))
        else:
            raise DataError(f"{shown(source)} is no picture; expected a file, an array or a Pillow image")
    except UnidentifiedImageError:
        raise DataError(f"{name} is no picture that Pillow can read; expected PNG, JPEG or the like") from None
    except FileNotFoundError:
        raise DataError(f"{name} is not there; expected a picture") from None
    except (
        OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombWarning, Image.DecompressionBombError
    ) as error:  # fmt: skip
        raise DataError(f"{name} cannot be read ({error}); it may be broken or cut short") from None
    short, long = sorted(found.size)
    if short == 0 or long > LONGEST * short:
        raise DataError(f"{name} has {found.width} x {found.height} pixels; at most {LONGEST} to 1 can be shown")
    return found


def _opened(source: Any) -> Image:
    """The head of a file alone is read. Warnings are the process's, so one thread at a time makes errors of them."""
    from PIL import Image

    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(source)


def _rgb(image: Any) -> Image:
    from PIL import Image as pil

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        most = 65535 if values.max(initial=0) > 255 else 255
        image = pil.fromarray(np.clip(values * (255 / most), 0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        shown_on = pil.new("RGBA", image.size, "white")
        shown_on.alpha_composite(image.convert("RGBA"))
        image = shown_on
    converted: Image = image.convert("RGB")
    return converted


def _checked(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise DataError(
            f"an array of shape {values.shape} of {values.dtype} is no picture; expected uint8 (rows, columns, 3)"
        )
    return values
