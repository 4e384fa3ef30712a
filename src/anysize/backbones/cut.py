"""Cutting what a sentence-transformers model gives to fewer coordinates."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch


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
