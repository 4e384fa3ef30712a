"""Cutting a nested embedder down to an ordinary sentence-transformers model."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

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


def cut_to(
    modules: Sequence[torch.nn.Module], width: int, dims: int, rows: torch.Tensor | None = None
) -> list[torch.nn.Module]:
    """
    Copies of the modules, a `Dense` that keeps `dims` of `width` coordinates (or applies `rows`), and `Normalize`.

    Slice first, normalise after; a cut that keeps everything is left out.
    """
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    copies = [copy.deepcopy(module) for module in modules]
    if rows is None and dims < width:
        rows = torch.eye(width)[:dims]
    if rows is not None:
        dense = Dense(width, dims, bias=False, activation_function=torch.nn.Identity())
        dense.linear.weight = torch.nn.Parameter(rows.clone())
        copies.append(dense)
    if rows is not None or not isinstance(copies[-1], Normalize):
        copies.append(Normalize())
    return copies
