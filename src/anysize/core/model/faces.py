"""Faces: what an evaluator, an index or another family asks of a model, whatever kind it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from anysize.core.model.cost import Cost
from anysize.core.sizes.size import Size


class Sized(Protocol):
    """A view at one size, which knows what that costs."""

    size: Size

    def cost(self) -> Cost:
        """What running at `size` costs."""


@runtime_checkable
class Embeds(Sized, Protocol):
    """Gives a vector for each text, or for each vector it reads."""

    about: dict[str, Any]
    encoder: Any
    """What reads texts; None for a model that reads vectors."""
    times_encoding: Any
    """Whether a size decides how long a text takes to encode."""

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`."""

    def features(self, inputs: Any, **options: Any) -> np.ndarray:
        """What all sizes are cut from, (items, ...)."""

    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """The vectors (items, dims) of this view's size, of unit length if `normalize`."""

    def encode(self, inputs: Any, **options: Any) -> Any:
        """Both in one step."""


class Classifies(Sized, Protocol):
    """Gives each vector a class."""

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """Of each class, (items, classes)."""

    def places(self, labels: Sequence[Any]) -> torch.Tensor:
        """Where labels stand among the classes."""


class Predicts(Sized, Protocol):
    """Gives the logits of every next token."""

    @property
    def tokenizer(self) -> Any:
        """Makes token ids of texts."""

    @property
    def max_length(self) -> int:
        """Tokens of a window."""

    def __call__(self, example: Any) -> torch.Tensor:
        """Logits (rows, tokens, vocabulary) of token ids (rows, tokens)."""
