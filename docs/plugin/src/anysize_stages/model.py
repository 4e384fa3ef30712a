"""The model: a codebook a stage, of which a size reads the first few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

import anysize as az


class ResidualQuantizer(az.NestedModel):
    """Vectors (n, width) as they are rebuilt from a byte for each stage."""

    kind: ClassVar[str] = "residual-quantizer"
    reads: ClassVar[tuple[str, ...]] = ("vector",)
    gives: ClassVar[str] = "vectors"
    evaluators: tuple[str, ...] = ("explained-variance",)
    rivals: ClassVar[Mapping[str, str]] = {
        "random": "anysize_stages.rivals:random",
        "single": "anysize.extending:single",
    }
    usual: ClassVar[tuple[str, ...]] = ("random",)

    def __init__(self, nesting: az.Nesting, width: int, entries: int) -> None:
        super().__init__(nesting)
        if nesting.axes != ("stages",):
            raise az.SizeError(f"a residual quantizer is nested in stages; got {', '.join(nesting.axes)}")
        self.codebooks = torch.nn.Parameter(torch.zeros(nesting.full["stages"], entries, width))
        self.mean = torch.nn.Parameter(torch.zeros(width), requires_grad=False)

    def rows(self, vectors: Any) -> torch.Tensor:
        """Vectors as a tensor. Raises `DataError` for those of another width."""
        x = torch.as_tensor(vectors if isinstance(vectors, torch.Tensor) else np.array(vectors)).to(self.mean)
        if x.dim() != 2 or x.shape[1] != len(self.mean):
            raise az.DataError(f"vectors of shape {tuple(x.shape)}; expected (n, {len(self.mean)})")
        return x

    @torch.no_grad()
    def encode(self, x: Any) -> np.ndarray:
        """A byte for each stage of this view's size: (n, stages) uint8."""
        left, codes = self.rows(x) - self.mean, []
        for book in self.codebooks[: self.size["stages"]]:
            codes.append(torch.cdist(left, book).argmin(1))
            left = left - book[codes[-1]]
        return torch.stack(codes, 1).cpu().numpy().astype(np.uint8)

    def decode(self, codes: Any) -> torch.Tensor:
        """Codes (n, stages) to vectors (n, width): the sum of the entries that they name."""
        places = torch.as_tensor(np.asarray(codes).astype(np.int64))
        return self.mean + sum(book[column] for book, column in zip(self.codebooks, places.T, strict=False))

    def outputs(self, example: Any, sizes: Any = None) -> dict[az.Size, torch.Tensor]:
        """Every size asked for, from one pass."""
        return self._outputs(example, self.nesting.resolve_all(sizes))

    def _outputs(self, example: Any, asked: Sequence[az.Size]) -> dict[az.Size, torch.Tensor]:
        """All sizes from one pass: the codes of a smaller size are the first ones of a larger."""
        largest = max(size["stages"] for size in asked)
        codes = self.at(next(size for size in asked if size["stages"] == largest)).encode(example)
        return {size: self.decode(codes[:, : size["stages"]]) for size in asked}

    def run(self, items: Any, *, side: Any = None) -> np.ndarray:
        """Each vector as this size rebuilds it, (n, width) float32."""
        with torch.no_grad():
            return self(items).cpu().numpy()

    def cost(self) -> az.Cost:
        """Bytes of a coded item; the codebooks of this size, and the distance to each of their entries."""
        stages, (_, entries, width) = self.size["stages"], self.codebooks.shape
        return az.Cost(bytes=stages, parameters=stages * entries * width + width, flops=3 * stages * entries * width)

    def config(self) -> dict[str, Any]:
        """What `build` needs besides the sizes."""
        _, entries, width = self.codebooks.shape
        return {"width": width, "entries": entries}

    @classmethod
    def build(cls, config: dict[str, Any], nesting: az.Nesting) -> Self:
        """An empty one of that shape."""
        return cls(nesting, config["width"], config["entries"])

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """The codebooks are cut in their first dimension."""
        return {"codebooks": ("stages", 0)}
