"""The published jina-embeddings-v3 (Sturua et al. 2024, arXiv 2409.10173) as a `TaskEncoder`: run, train, cut, save."""

from __future__ import annotations

import os

import torch

from anysize.core.sizes import Nesting
from anysize.text.backbone import Backbone
from anysize.text.jina import TARGETS, read_published
from anysize.text.task_adapters import LoRA
from anysize.text.tasks import TaskEncoder


def from_published_jina(folder: str | os.PathLike[str], *, max_length: int | None = None) -> TaskEncoder:
    """
    The model in a published folder, its adapters and instructions by task, at the sizes it was trained for.

    `max_length` cuts texts at so many tokens (default: as many as the folder's model and tokenizer read, 8192). Raises
    `CheckpointError` for another layout or a damaged one.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    found = read_published(folder)
    config = found.transformer.config
    readable = min(int(config.max_position_embeddings), int(found.tokenizer.model_max_length))
    pooling = Pooling(int(config.hidden_size), pooling_mode="mean")
    settings = {
        "max_length": max_length or readable,
        "prompts": {},
        "default_prompt": None,
        "similarity": "cosine",
        "truncate_dim": None,
    }
    backbone = Backbone(found.transformer, [pooling], settings)
    backbone.tokenizer = found.tokenizer
    lora = LoRA(found.r, found.lora_alpha, found.lora_dropout, TARGETS)
    encoder = TaskEncoder(Nesting(dims=found.dims), backbone, tuple(found.adapters), lora, found.prompts)
    with torch.no_grad():
        for task, given in found.adapters.items():
            for name, weight in encoder.adapters.weights(task).items():
                weight.copy_(given[name.removeprefix("base_model.model.")])
    encoder.about = {"options": {"model": str(folder)}}
    return encoder.eval()
