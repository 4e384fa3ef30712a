"""An image encoder at any size: a tower of others, whose vector is read up to the size, or through a nested head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.vision.towers import Tower, build_tower
from anysize.core.errors import AnysizeError, DataError, SizeError, UnreadableError
from anysize.core.losses.head import as_tensor
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.progress import bar
from anysize.core.sides import Side, TwoSided
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


class ImageEncoder(TwoSided, NestedModel):
    """
    Embeds pictures, and their patches, at any trained size; files, bytes, arrays or Pillow images.

    `weight` (full dims, width) is a head over the tower's vector; without one the tower's own first coordinates are the
    smaller sizes. `flat` (width, width) takes position out of patch tokens before either (RASA); the vector of a
    picture is not touched by it. Every output is cut first and brought to unit length then.
    """

    kind = "image-encoder"
    reads = ("image",)
    evaluators = ("knn", "linear", "clusters", "segmentation", "retrieval", "neighbours")
    times_encoding = False
    """Whether a size decides how long a picture takes: the tower runs whole at every size."""
    rivals: ClassVar[Mapping[str, str]] = {
        "truncate": "anysize.vision.measuring.rivals:truncate",
        "pca": "anysize.vision.measuring.rivals:pca",
        "single": "anysize.core.verbs.rivals:single",
    }
    usual = ("pca",)
    panels: ClassVar[tuple[str, ...]] = (
        "anysize.vision.measuring.panels:neighbours",
        "anysize.vision.measuring.panels:clusters",
    )
    exports: ClassVar[Mapping[str, str]] = {
        "onnx": "anysize.vision.encoder.export:onnx",
        "timm": "anysize.vision.encoder.export:timm",
        "transformers": "anysize.vision.encoder.export:transformers",
    }

    def __init__(
        self,
        nesting: Nesting,
        tower: Tower,
        *,
        weight: torch.Tensor | None = None,
        flat: torch.Tensor | None = None,
    ) -> None:
        super().__init__(nesting)
        if nesting.axes != ("dims",):
            raise SizeError(f"an image encoder is nested in dims; got {', '.join(nesting.axes)}")
        if nesting.full.dims > tower.width:
            raise SizeError(f"{nesting.full} exceeds the tower, which gives vectors of {tower.width}")
        self.tower = tower
        self.weight = None if weight is None else torch.nn.Parameter(weight, requires_grad=False)
        self.flat = None if flat is None else torch.nn.Parameter(flat, requires_grad=False)

    # Running

    @property
    def encoder(self) -> Tower:
        """What sees the pictures."""
        return self.tower

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`."""
        return (id(self.tower),)

    @torch.no_grad()
    def features(
        self,
        inputs: Any,
        *,
        side: Side | None = None,
        batch_size: int = 64,
        progress: bool = False,
        bf16: bool = False,
    ) -> np.ndarray:
        """The tower's vectors (n, width) of pictures; the sides of a search are alike. Raises `UnreadableError`."""
        rows, broken = _pictures(inputs), dict[int, DataError]()
        found = np.zeros((len(rows), self.tower.width), np.float32)
        with bar(len(rows), "encode", " pictures", show=progress, leave=False) as done:
            for start in range(0, len(rows), batch_size):
                part = rows[start : start + batch_size]
                try:
                    pixels = self.tower.pixels(part)
                except UnreadableError as error:
                    broken |= {start + place: one for place, one in error.errors.items()}
                if not broken:  # else the others are only looked at, so that all that are broken can be named
                    found[start : start + len(part)] = self._seen(pixels, bf16).pooled.float().cpu()
                done.update(len(part))
        if broken:
            raise UnreadableError(broken, [rows[place] for place in broken])
        return found

    @torch.no_grad()
    def tokens(self, inputs: Any, *, batch_size: int = 64, squeezed: bool = False) -> np.ndarray:
        """The tower's patch tokens (n, rows, columns, width), without position where `flat` takes it out."""
        rows = _pictures(inputs)
        if not rows:
            raise DataError("there are no pictures; give at least one")
        parts = []
        for start in range(0, len(rows), batch_size):
            pixels = self.tower.pixels(rows[start : start + batch_size], squeezed=squeezed)
            found = self._seen(pixels, False).patches.float()
            parts.append((found if self.flat is None else found @ self.flat.T).cpu().numpy())
        return np.concatenate(parts)

    def _seen(self, pixels: torch.Tensor, bf16: bool) -> Any:
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
            return self.tower(pixels)

    @torch.no_grad()
    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """Features or tokens (..., width) to vectors (..., dims) of this view's size, of unit length if `normalize`."""
        if features.shape[-1] != self.tower.width:
            raise DataError(f"this model projects features of width {self.tower.width}; got {features.shape[-1]}")
        dims, rows = dims or self.size.dims, as_tensor(features)
        weight = None if self.weight is None else self.weight.cpu()
        found = rows[..., :dims] if weight is None else rows @ weight[:dims].T
        return (functional.normalize(found, dim=-1) if normalize else found).numpy()

    def encode(self, inputs: Any, *, side: Side | None = None, **options: Any) -> np.ndarray:
        """Unit vectors (n, dims), float32, of pictures; options are those of `features`."""
        return self.project(self.features(inputs, side=side, **options))

    def patches(self, inputs: Any, **options: Any) -> np.ndarray:
        """Unit vectors (n, rows, columns, dims) of the patches of pictures; options are those of `tokens`."""
        return self.project(self.tokens(inputs, **options))

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Unit vectors (n, dims) at each size from one pass of the tower; gradients flow."""
        seen = self.tower(self.tower.pixels(_pictures(example))).pooled
        found = seen if self.weight is None else seen @ self.weight.T
        return {size: functional.normalize(found[:, : size.dims], dim=-1) for size in asked}

    def cost(self) -> Cost:
        """Bytes of one stored vector; parameters and FLOPs of the head alone (the tower's are fixed)."""
        weights = 0 if self.weight is None else self.size.dims * self.tower.width
        return Cost(bytes=4 * self.size.dims, parameters=weights, flops=2 * weights)

    # The contract

    def config(self) -> dict[str, Any]:
        """How the tower is made, and what stands behind it."""
        return {"tower": self.tower.spec, "head": self.weight is not None, "flat": self.flat is not None}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """A model of that configuration whose weights mean nothing yet."""
        tower = build_tower(config["tower"])
        head = torch.zeros(nesting.full.dims, tower.width) if config["head"] else None
        return cls(nesting, tower, weight=head, flat=torch.zeros(tower.width, tower.width) if config["flat"] else None)

    @classmethod
    def facts(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The tower in words."""
        spec = config["tower"]
        name = spec.get("name") or spec["config"].get("model_type", "")
        more = {"position": "taken out of patches"} if config["flat"] else {}
        return {"tower": f"{spec['library']} {name}", "pixels": f"{spec['side']} x {spec['side']}", **more}

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """A head is cut in its rows."""
        return {} if self.weight is None else {"weight": ("dims", 0)}


def _pictures(given: Any) -> list[Any]:
    """Several pictures, as a list. Raises `AnysizeError` for one alone."""
    if isinstance(given, (str, bytes)) or hasattr(given, "__fspath__"):
        raise AnysizeError("expected a list of pictures, got one; put it in a list")
    return list(given)
