"""Cutting what a sentence-transformers model gives to fewer coordinates."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from anysize.backbones.texts.prompts import kept_prompts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def cut_to(
    modules: Sequence[torch.nn.Module], width: int, dims: int, rows: torch.Tensor | None = None
) -> list[torch.nn.Module]:
    """
    Copies of the modules, a `Dense` that keeps `dims` of `width` coordinates (or applies `rows`), and `Normalize`.

    `rows` may read fewer coordinates than there are, the first ones. Slice first, normalise after; a cut that keeps
    everything is left out.
    """
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    copies = [copy.deepcopy(module) for module in modules]
    if rows is None and dims < width:
        rows = torch.eye(width)[:dims]
    if rows is not None:
        dense = Dense(width, dims, bias=False, activation_function=torch.nn.Identity())
        unread = width - rows.shape[1]
        dense.linear.weight = torch.nn.Parameter(torch.nn.functional.pad(rows, (0, unread)).clone())
        copies.append(dense)
    if rows is not None or not isinstance(copies[-1], Normalize):
        copies.append(Normalize())
    return copies


def settings_of(model: SentenceTransformer) -> dict[str, Any]:
    """What a sentence-transformers model says of itself beside its modules, as `assembled` takes it."""
    return {
        "prompts": dict(model.prompts),
        "default_prompt_name": model.default_prompt_name,
        "similarity_fn_name": model.similarity_fn_name,
    }


def assembled(
    modules: Sequence[torch.nn.Module], dims: Sequence[int], settings: Mapping[str, Any], *, device: torch.device
) -> SentenceTransformer:
    """
    A sentence-transformers model of these modules, which says for which `dims` its prefixes were trained.

    It says so in the configuration of the transformer, in the words that servers look for before they shorten a vector
    (``is_matryoshka``, ``matryoshka_dimensions``; vllm-project/vllm#16331).
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    if isinstance(modules[0], Transformer):
        config: Any = modules[0].config
        for name in ("is_matryoshka", "matryoshka_dimensions"):
            config.__dict__.pop(name, None)  # the base's own sizes are not those of this model
        if len(dims) > 1:
            config.is_matryoshka, config.matryoshka_dimensions = True, list(dims)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SentenceTransformer(
            modules=list(modules), device=str(device), **{**settings, "prompts": kept_prompts(settings["prompts"])}
        )
