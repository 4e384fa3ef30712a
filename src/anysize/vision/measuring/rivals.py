"""What an image encoder stands beside: the model it came from, cut, and the principal directions of its own vectors."""

from __future__ import annotations

from typing import Any

from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.principal import principal_rows
from anysize.vision.encoder.model import ImageEncoder
from anysize.vision.encoder.opening import opened


def truncate(model: ImageEncoder, data: Data) -> list[ImageEncoder]:
    """The first coordinates of the model that this one was made from. Raises `AnysizeError` where there is none."""
    options: dict[str, Any] = model.about.get("options", {})
    if model.weight is not None:
        tower = model.tower
    elif options.get("model") is None or options.get("from_scratch"):
        raise AnysizeError("this model was trained from scratch, so there is nothing to cut; compare it with single")
    else:
        tower = opened(options["model"], layers=options.get("layers")).tower
    cut = ImageEncoder(model.nesting, tower, flat=model.flat).eval()
    return [cut.at(size) for size in model.nesting]


def pca(model: ImageEncoder, data: Data) -> list[ImageEncoder]:
    """The principal directions of the tower's vectors of these pictures, which no label decides."""
    items = data.items() if data.corpus is not None or data.table is None else None
    rows = list(data.table["image"]) if items is None and data.table is not None else (items.rows if items else [])
    features = model.features(rows, progress=True)
    width = model.nesting.full.dims
    sizes = Nesting(dims=[size.dims for size in model.nesting])
    cut = ImageEncoder(sizes, model.tower, weight=principal_rows(features, width), flat=model.flat).eval()
    return [cut.at(size) for size in sizes]
