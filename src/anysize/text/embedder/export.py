"""Cutting a nested embedder down to an ordinary sentence-transformers model."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from anysize.backbones.cut import cut_to
from anysize.core.files import new_directory
from anysize.core.model.contract import NestedModel
from anysize.core.model.exported import Exported
from anysize.core.quiet import quiet
from anysize.text.embedder.model import Embedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def write(view: NestedModel, path: str | os.PathLike[str]) -> Exported:
    """Write a view that embeds texts as a sentence-transformers model; without an encoder, a smaller model of ours."""
    small = view.extract()
    if isinstance(small, NestedModel):
        small.save(path)
        return Exported("anysize", f'anysize.load("{path}")')
    with new_directory(path, marker="modules.json") as directory, quiet():
        small.save(str(directory), create_model_card=False)
    return Exported("sentence-transformers", f'SentenceTransformer("{path}")')


def sentence_transformer(embedder: Embedder) -> SentenceTransformer:
    """
    The model at its current size as a `SentenceTransformer`: encoder, `Dense` (or a cut), `Normalize`.

    Gives the same vectors as ``embedder.encode`` and needs only sentence-transformers to load.
    """
    from sentence_transformers import SentenceTransformer

    assert embedder.encoder is not None
    base = embedder.encoder.model
    rows = None if embedder.weight is None else embedder.weight[: embedder.size.dims].detach()
    modules = cut_to(list(base), embedder.in_features, embedder.size.dims, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SentenceTransformer(modules=modules, device=str(base.device))
