"""What benchmarks of sparse codes learn from: embeddings of texts, features of images, a language model's residuals."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sparse.samples.images import images
from benchmarks.sparse.samples.residuals import residuals
from benchmarks.sparse.samples.sample import Sample
from benchmarks.sparse.samples.texts import embedded, texts_of


def sample(on: str, data: Path, cache: Path) -> Sample:
    """The rows of a kind, from the cache if they are there."""
    if on == "images":
        return images(data, cache)
    if on == "residuals":
        return residuals(data, cache)
    return embedded(texts_of(data), cache, "texts")
