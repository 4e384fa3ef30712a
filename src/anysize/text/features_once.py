"""Base features of some items, computed once per encoder, however many sizes and arms are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anysize.core.data import Items
    from anysize.text.embedder import Embedder


_ROWS = 1 << 16


class FeaturesOnce:
    """What the views of one encoder share: they differ in `project` alone."""

    def __init__(self, *parts: Items, tasks: Sequence[str] = ()) -> None:
        self.parts = parts
        self.tasks = tasks
        """What each part is for, to a model that embeds a text differently for each task."""
        self.known: dict[tuple[object, ...], tuple[np.ndarray, ...]] = {}

    def of(self, model: Embedder) -> tuple[np.ndarray, ...]:
        """`model.features` of each part, (items, ...)."""
        key = model.origin
        if key not in self.known:
            tasks = self.tasks or [""] * len(self.parts)
            self.known[key] = tuple(
                self._compute(model, part, task) for part, task in zip(self.parts, tasks, strict=True)
            )
        return self.known[key]

    @staticmethod
    def _compute(model: Embedder, part: Items, task: str) -> np.ndarray:
        if part.vectors is not None:
            for start in range(0, len(part), _ROWS):  # looked through, not copied: they may be a mapped file
                model.features(np.asarray(part.vectors[start : start + _ROWS]))
            return part.vectors
        if model.encoder is None:
            return model.features(part.texts or [])
        bf16 = bool(model.about.get("options", {}).get("bf16"))
        # A view that was made for one task keeps it.
        chosen: dict[str, Any] = {"task": task} if task and getattr(model, "task", "") is None else {}
        return model.features(part.texts or [], progress=True, bf16=bf16, **chosen)
