"""Cutting a nested embedder down to an ordinary sentence-transformers model."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from anysize.text.embedder import Embedder


def sentence_transformer(embedder: Embedder) -> SentenceTransformer:
    """
    The model at its current size as a `SentenceTransformer`: encoder, `Dense` (or a cut), `Normalize`.

    Gives the same vectors as ``embedder.encode`` and needs only sentence-transformers to load.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    assert embedder.encoder is not None
    base = embedder.encoder.model
    dims = embedder.size.dims
    modules = [copy.deepcopy(module) for module in base]
    if embedder.weight is None and dims == embedder.in_features:
        rows = None
    elif embedder.weight is None:
        rows = torch.eye(embedder.in_features)[:dims]
    else:
        rows = embedder.weight[:dims].detach()
    if rows is not None:
        dense = Dense(embedder.in_features, dims, bias=False, activation_function=torch.nn.Identity())
        dense.linear.weight = torch.nn.Parameter(rows.clone().to(base.device))
        modules.append(dense)
    if rows is not None or not isinstance(modules[-1], Normalize):
        modules.append(Normalize())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SentenceTransformer(modules=modules, device=str(base.device))
