"""Cutting a nested embedder down to an ordinary sentence-transformers model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anysize.backbones.cut import assembled, cut_to, settings_of
from anysize.core.engine_checks import Exported
from anysize.core.files import new_directory
from anysize.core.model.contract import NestedModel
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.quiet import quiet
from anysize.text.embedder.model import Embedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def write(view: NestedModel, path: str | os.PathLike[str]) -> Exported:
    """Write a view that embeds texts as a sentence-transformers model; without an encoder, a smaller model of ours."""
    small = view.extract()
    if isinstance(small, NestedModel):
        small.save(path)
        return Exported("anysize", how=f'anysize.load("{path}")')
    with new_directory(path, marker=EXPORT) as directory, quiet():
        small.save(str(directory), create_model_card=False)
        exported = Exported("sentence-transformers", how=f'SentenceTransformer("{path}")')
        write_note(directory, exported.format, {"size": view.size.to_json()}, exported)
    return exported


def sentence_transformer(embedder: Embedder) -> SentenceTransformer:
    """
    The model at its current size as a `SentenceTransformer`: encoder, `Dense` (or a cut), `Normalize`.

    Gives the same vectors as ``embedder.encode`` (`encode_query`, `encode_document`) and needs only
    sentence-transformers to load. All of it has the type of the encoder's weights, as sentence-transformers wants it,
    so with weights of 16 bits the vectors agree to their rounding.
    """
    assert embedder.encoder is not None
    base, dims = embedder.encoder.model, embedder.size.dims
    rows = None if embedder.weight is None else embedder.weight[:dims].detach()
    modules = cut_to(list(base), embedder.encoder.whole_dimension, dims, rows)
    sizes = [size for size in embedder.nesting.values("dims") if size <= dims]
    cut = assembled(modules, sizes, settings_of(base), device=base.device)
    cut.module_kwargs = base.module_kwargs
    return cut
