"""A sentence encoder at any width: `Quantized` with the face that the evaluators, the index and the server know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from anysize.core.sides import Side, TwoSided
from anysize.core.sizes.size import Size
from anysize.quantize.model.inner import BITS
from anysize.quantize.model.model import Quantized


class QuantizedEncoder(TwoSided, Quantized):
    """Embeds texts with codes for weights: ``at(bits=4).encode(texts)``; also with layers and dims, where trained."""

    kind = "quantized-encoder"
    reads = ("text",)
    evaluators = ("retrieval", "similarity", "neighbours")
    mixes_sizes = True

    @property
    def times_encoding(self) -> bool:
        """Whether a size decides how long a text takes to encode: as in the inner model."""
        inner: Any = self.inner
        return bool(inner.times_encoding)

    @property
    def encoder(self) -> Any:
        """What reads texts."""
        inner: Any = self.inner
        return inner.encoder

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`: one inner model at one width."""
        widths = self.size.bits if self.mixture is None else tuple(sorted(self.mixture.items()))
        return (*self._inner_view.origin, widths)

    @property
    def _inner_view(self) -> Any:
        return self.inner.at(self.inner_size)

    def run_mixed(self, items: Any, sizes: Sequence[Size], *, side: Side | None = None) -> list[Any]:
        """One pass for each width, which its other sizes share as in the inner model."""
        found: list[Any] = [None] * len(sizes)
        for bits in dict.fromkeys(size[BITS] for size in sizes):
            rows = [row for row, size in enumerate(sizes) if size[BITS] == bits]
            with self.at(sizes[rows[0]]).running() as view:
                here = view.run_mixed(
                    [items[row] for row in rows], [self._inside(sizes[row]) for row in rows], side=side
                )
            for row, output in zip(rows, here, strict=True):
                found[row] = output
        return found

    def window(self, side: Side | None = "document") -> Any:
        """How much of a text it reads: as the inner model."""
        inner: Any = self.inner
        return inner.window(side)

    def features(self, inputs: Sequence[str], **options: Any) -> np.ndarray:
        """What every size of this width is cut from; shape and options as in the inner model."""
        with self.running() as view:
            found: np.ndarray = view.features(inputs, **options)
        return found

    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """`features` to embeddings at this view's size: (n, dims), of unit length unless told otherwise."""
        found: np.ndarray = self._inner_view.project(features, dims, normalize=normalize)
        return found

    def encode(self, inputs: Sequence[str], *, sizes: Iterable[Size | str] | None = None, **options: Any) -> Any:
        """
        Unit embeddings at this view's size: float32, shape (n, dims).

        With `sizes`, a dict of them by size: one pass per width. Options: side, batch_size, progress, bf16.
        """
        if sizes is None:
            with self.running() as view:
                return view.encode(inputs, **options)
        asked = self.nesting.resolve_all(sizes)
        found: dict[Size, np.ndarray] = {}
        for bits in dict.fromkeys(size[BITS] for size in asked):
            here = [size for size in asked if size[BITS] == bits]
            features = self.at(here[0]).features(inputs, **options)
            found.update({size: self.at(size).project(features) for size in here})
        return {size: found[size] for size in asked}
