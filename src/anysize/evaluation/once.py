"""Base features of some items, computed once per encoder, however many sizes and arms are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.core.model.faces import Corpus, Remembers, Searches

if TYPE_CHECKING:
    from anysize.core.data.records import Items
    from anysize.core.model.contract import NestedModel
    from anysize.core.model.faces import Embeds
    from anysize.core.sides import Side

_ROWS = 1 << 16


def precision(model: Embeds | NestedModel) -> dict[str, bool]:
    """How many texts are embedded with a model: as when it was fitted, which then gave vectors that are kept."""
    return {"bf16": True} if model.about.get("options", {}).get("bf16") else {}


class FeaturesOnce:
    """What the views of one encoder share: they differ in `project` alone."""

    def __init__(self, *parts: Items, tasks: Sequence[str] = (), sides: Sequence[Side | None] = ()) -> None:
        self.parts = parts
        self.tasks = tasks or [""] * len(parts)
        """What each part is for, to a model that embeds a text differently for each task."""
        self.sides = sides or [None] * len(parts)
        """Where in a search each part stands, to a model that embeds queries and documents differently."""
        self.known: dict[tuple[object, ...], tuple[np.ndarray, ...]] = {}
        self.corpora: dict[tuple[object, ...], Corpus] = {}

    def of(self, model: Embeds | Searches) -> tuple[np.ndarray, ...]:
        """`model.features` of each part, (items, ...), or what it reads in place of them."""
        key = model.origin
        if key not in self.known:
            self.known[key] = tuple(
                self._compute(model, *one) for one in zip(self.parts, self.tasks, self.sides, strict=True)
            )
        return self.known[key]

    def corpus(self, model: Embeds | Searches) -> Corpus:
        """The first part, as documents to compare with."""
        return self.corpora.setdefault(model.origin, Corpus(self.of(model)[0]))

    @staticmethod
    def _compute(model: Embeds | Searches, part: Items, task: str, side: Side | None) -> np.ndarray:
        if isinstance(model, Searches):
            return model.vectors(part, side)
        if part.vectors is not None:
            for start in range(0, len(part), _ROWS):  # looked through, not copied: they may be a mapped file
                model.features(np.asarray(part.vectors[start : start + _ROWS]))
            return part.vectors
        given = part.rows if part.texts is None else part.texts
        if model.encoder is None:
            return model.features(given)
        if isinstance(model.encoder, Remembers):
            model.encoder.keep_embeddings()
        # A view that was made for one task keeps it.
        chosen: dict[str, Any] = {"task": task} if task and model.tasks and model.task is None else {}
        return model.features(given, side=side, progress=True, **precision(model), **chosen)
