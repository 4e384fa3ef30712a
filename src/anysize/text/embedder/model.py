"""
Nested embeddings: every prefix of the vector is an embedding of its own (Kusupati et al. 2022, section 3).

An `Embedder` is an optional sentence encoder followed by an optional linear head. The head's rows are ordered: its
first m rows make the m-dimensional embedding, so a smaller size stores, loads and multiplies less.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from anysize.backbones.sentence import Encoder
from anysize.backbones.texts.window import Window
from anysize.core.arguments import FINITE_ROWS, TEXTS, expect, takes, whole
from anysize.core.errors import AnysizeError, DataError
from anysize.core.losses.head import as_tensor
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.model.mixing import by_size
from anysize.core.sides import Side, TwoSided, side_of
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

ENCODER = "encoder"


class Embedder(TwoSided, NestedModel):
    """
    Embeds texts (or vectors, when there is no encoder) at any trained size.

    `weight` has shape (full dims, in_features); without a head (`weight is None`) the encoder's own coordinates are
    the nested ones. Outputs are sliced first and normalised after, so every size has unit length.
    """

    kind = "embedder"
    reads = ("text", "vector")
    later = (ENCODER,)
    times_encoding = False
    """Whether a size decides how long a text takes to encode: here the encoder runs whole at every size."""
    evaluators = ("retrieval", "similarity", "neighbours")
    rivals: ClassVar[Mapping[str, str]] = {
        "truncate": "anysize.text.rivals:truncate",
        "pca": "anysize.text.rivals:pca",
        "single": "anysize.text.rivals:single",
        "original": "anysize.text.rivals:original",
    }
    usual = ("truncate", "pca")
    exports: ClassVar[Mapping[str, str]] = {"sentence-transformers": "anysize.text.embedder.export:write"}
    converts: ClassVar[Mapping[str, str]] = {
        "sentence-transformers": "anysize.text.embedder.export:sentence_transformer"
    }

    def __init__(
        self, nesting: Nesting, in_features: int, *, encoder: Encoder | None = None, weight: torch.Tensor | None = None
    ) -> None:
        super().__init__(nesting)
        self.in_features = in_features
        self.encoder = encoder
        self.weight = None if weight is None else torch.nn.Parameter(weight, requires_grad=False)
        self._encoder_fingerprint: str | None = None

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`."""
        return (id(self.encoder),)

    def features(self, inputs: Sequence[str] | np.ndarray, **options: Any) -> np.ndarray:
        """
        What the head reads, shape (n, in_features): the encoder's embeddings, or the vectors themselves.

        Options go to `Encoder.encode`; a `side` says nothing of vectors.

        Raises `DataError` for vectors of another width or with values that are not finite, and `AnysizeError` for
        texts where there is no encoder.
        """
        held = expect(inputs, TEXTS | FINITE_ROWS, "encode: inputs")
        if not isinstance(held, list):
            vectors = np.asarray(held, dtype=np.float32)
            if vectors.shape[1] != self.in_features:
                raise DataError(f"this model reads vectors of shape (n, {self.in_features}); got {vectors.shape}")
            return vectors
        if self.encoder is None:
            raise AnysizeError("this model was fitted on vectors and has no encoder; give it vectors, not texts")
        return self.encoder.encode(held, **{"side": side_of(inputs), **options})

    def run_mixed(self, items: Any, sizes: Sequence[Size], *, side: Side | None = None) -> list[Any]:
        """One pass of the encoder for all sizes."""
        return by_size(self.features(items, side=side), sizes, lambda size, part: self.at(size).project(part))

    def window(self, side: Side | None = "document") -> Window:
        """How much of a text it reads. Raises `AnysizeError` where there is no encoder."""
        if self.encoder is None:
            raise AnysizeError("this model was fitted on vectors and has no encoder; give it vectors, not texts")
        return self.encoder.window(side)

    @takes(features=FINITE_ROWS, dims=whole())
    @torch.no_grad()
    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """Features (n, in_features) to embeddings (n, dims) at this view's size, of unit length if `normalize`."""
        dims = dims or self.size.dims
        if features.shape[1] != self.in_features:
            raise DataError(f"this model projects features of width {self.in_features}; got {features.shape[1]}")
        x = as_tensor(features)
        z = x[:, :dims] if self.weight is None else x @ self.weight[:dims].T
        return (torch.nn.functional.normalize(z, dim=-1) if normalize else z).numpy()

    def encode(self, inputs: Sequence[str] | np.ndarray, **options: Any) -> np.ndarray:
        """Unit embeddings at this view's size: float32, shape (n, dims). Options go to `Encoder.encode`."""
        return self.project(self.features(inputs, **options))

    def _outputs(self, example: Sequence[str] | np.ndarray, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Every size from one pass of the encoder and one product with the head."""
        x = as_tensor(self.features(example))
        z = x if self.weight is None else x @ self.weight[: max(size.dims for size in asked)].detach().T
        return {size: torch.nn.functional.normalize(z[:, : size.dims], dim=-1) for size in asked}

    def cost(self) -> Cost:
        """Bytes of one stored float32 embedding; parameters and FLOPs of the head alone (the encoder's are fixed)."""
        weights = 0 if self.weight is None else self.size.dims * self.in_features
        return Cost(bytes=4 * self.size.dims, parameters=weights, flops=2 * weights)

    # Saving

    def config(self) -> dict[str, Any]:
        """in_features, whether there is a head, and the encoder's fingerprint."""
        if self.encoder is not None and self._encoder_fingerprint is None:
            self._encoder_fingerprint = self.encoder.fingerprint()
        return {
            "in_features": self.in_features,
            "head": self.weight is not None,
            "encoder": self._encoder_fingerprint,
        }

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """An Embedder of that shape, its head all zeros, its encoder not yet attached."""
        head = torch.zeros(nesting.full.dims, config["in_features"]) if config["head"] else None
        model = cls(nesting, config["in_features"], weight=head)
        model._encoder_fingerprint = config["encoder"]
        return model

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """The head is cut in its rows."""
        return {} if self.weight is None else {"weight": ("dims", 0)}

    def save_parts(self, directory: Path) -> None:
        """The encoder, in its own format, so that the saved model stands alone."""
        if self.encoder is not None:
            self.encoder.save(directory / ENCODER)

    def load_parts(self, directory: Path) -> None:
        """Point at the encoder beside the weights; it is read when the first text arrives."""
        if self._encoder_fingerprint is not None:
            check = None if self.parts is None else functools.partial(self.parts.check, ENCODER)
            self.encoder = Encoder(directory / ENCODER, check=check)

    def take_parts(self, whole: Self) -> None:
        """The same encoder, which runs whole at every size."""
        self.encoder = whole.encoder
