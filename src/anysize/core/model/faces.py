"""
Faces: what an evaluator, an index or another family asks of a model, whatever kind it is.

``isinstance(model, Embeds)`` tells whether a model has what the face lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import numpy as np
    import torch

    from anysize.core.model.cost import Cost
    from anysize.core.sides import Side
    from anysize.core.sizes.nesting import Nesting
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

    tasks: tuple[str, ...]
    task: str | None

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`."""

    def features(self, inputs: Any, *, side: Side | None = None, **options: Any) -> np.ndarray:
        """What all sizes are cut from, (items, ...); of items on this side of a search, where there are two."""

    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """The vectors (items, dims) of this view's size, of unit length if `normalize`."""

    def encode(self, inputs: Any, *, side: Side | None = None, **options: Any) -> Any:
        """Both in one step."""


@runtime_checkable
class Codes(Sized, Protocol):
    """Gives a sparse code for each vector, and reads texts by an encoder of its own."""

    @property
    def code_shape(self) -> tuple[int, int]:
        """Latents of a code at this view's size, and how many of them are active at most."""

    def features(self, inputs: Any, *, side: Side | None = None) -> np.ndarray:
        """The vectors (items, width) that are encoded: of texts on this side of a search; vectors as they are."""

    def encode(self, inputs: Any, *, side: Side | None = None) -> Any:
        """Codes of vectors or of texts, with a method ``to_scipy``."""


class Pretrained(Protocol):
    """What pre-training gives: an encoder of transformers, which another method makes nested."""

    encoder: Any
    tokenizer: Any
    max_length: int
    about: dict[str, Any]

    @property
    def nesting(self) -> Nesting:
        """The sizes that it was trained for."""
        ...

    def sentence_transformer(self) -> Any:
        """An ordinary sentence-transformers model of it."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a folder, in one step."""


@runtime_checkable
class Remembers(Protocol):
    """An encoder of texts that can keep in the user's cache what it embeds."""

    def keep_embeddings(self) -> None:
        """From now on keep there what is embedded, and take from there what this model embedded before."""

    def embed(self, texts: Sequence[str], side: Side | None = None) -> np.ndarray:
        """Embed texts of a side of a search anew, (texts, d), whatever is kept."""


class Corpus:
    """Vectors (n, d) to compare with, and what was made of them, so that several views need not make it again."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self._known: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for a key."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


class Scorer(Protocol):
    """A corpus in some form, ready to be compared with."""

    metrics: dict[str, float]
    """What else is known of this form, for example ``l0``."""
    bytes: int
    """Of an item, on average."""
    parameters: int
    flops: int

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """How near each query (q, d) is to each item: (q, n), float32."""


@runtime_checkable
class Searches(Sized, Protocol):
    """Compares vectors in a form of its own, sparse codes for example."""

    @property
    def origin(self) -> Any:
        """Views of one origin read the same `vectors`."""

    def vectors(self, items: Any, side: Any) -> np.ndarray:
        """What it reads of items that stand on a side of a search, (items, d)."""

    def scorer(self, corpus: Corpus) -> Scorer:
        """A corpus in this form."""


@runtime_checkable
class Rebuilds(Sized, Protocol):
    """Turns vectors into codes, and these back into vectors."""

    def encode(self, x: Any) -> Any:
        """Vectors (n, d) to codes."""

    def decode(self, codes: Any) -> Any:
        """Codes to vectors (n, d)."""


@runtime_checkable
class Classifies(Sized, Protocol):
    """Gives each vector a class."""

    def probabilities(self, z: np.ndarray) -> np.ndarray:
        """Of each class, (items, classes)."""

    def places(self, labels: Sequence[Any]) -> torch.Tensor:
        """Where labels stand among the classes."""


@runtime_checkable
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


class Window(Protocol):
    """How much of a text a model reads."""

    def say_cut(self, texts: Sequence[str], advice: str = "") -> None:
        """Tell how many texts are longer."""
        ...

    def passages(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Spans of characters that are read whole, one or more for each text."""
        ...

    @property
    def limit(self) -> float:
        """The most tokens that are read of a text, special ones and prompt included; infinite where there is none."""
        ...

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens texts have, special ones and prompt included: more than `limit` of one that is cut."""
        ...


@runtime_checkable
class ReadsTexts(Protocol):
    """A model that says how much of a text it reads."""

    def window(self, side: Side | None = "document") -> Window:
        """That of texts on a side of a search."""
        ...


@runtime_checkable
class Generates(Sized, Protocol):
    """Goes on from what it is given, in words."""

    def generate(
        self,
        items: Any,
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 8,
    ) -> list[str]:
        """What follows each item: the most probable at `temperature` 0, else drawn by the seed and the item alone."""


@runtime_checkable
class Answers(Sized, Protocol):
    """Answers questions about what it is shown; what it sees is encoded once for all sizes."""

    @property
    def origin(self) -> Any:
        """Views of one origin answer from the same `read`."""

    def read(self, rows: Sequence[Any], *, batch_size: int, folder: Path | None) -> Any:
        """What all sizes answer from: one pass over rows of parts. `folder` may hold what is large."""

    def answers(self, read: Any, *, max_new_tokens: int, batch_size: int) -> list[str]:
        """What is said to each row."""

    def first_token(self, rows: Sequence[Any]) -> Any:
        """All that is done until the first token of an answer."""


@runtime_checkable
class Transcribes(Answers, Protocol):
    """Writes down what is said in clips; what it hears and sees is encoded once for all sizes."""

    def text_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of transcripts, with their ends."""
