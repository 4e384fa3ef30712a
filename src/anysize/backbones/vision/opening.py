"""Vision-language models of others, by folder or hub name, opened as ours by their type."""

from __future__ import annotations

import os
from typing import Any

import torch

from anysize.backbones.huggingface import opening, pretrained
from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.qwen import QwenVision
from anysize.core.errors import AnysizeError

TYPES = {kind.model_type: kind for kind in (VisionLanguage, QwenVision)}
"""Model types that can be opened, as transformers names them."""


def open_vlm(name: str | os.PathLike[str]) -> VisionLanguage:
    """
    A model in float32, with its processor; no code of it runs.

    Raises `AnysizeError` if there is none, or one of another type than `TYPES`.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    with opening("vision-language model", name):
        kind = pretrained(AutoConfig, name).model_type
        if kind not in TYPES:
            raise AnysizeError(f"{name} is of type {kind!r}; expected a vision-language model of type {_known()}")
        model = pretrained(AutoModelForImageTextToText, name, dtype=torch.float32)
        processor = TYPES[kind].prepares(name)
    return TYPES[kind](model.eval(), processor)


def as_vlm(model: Any, processor: Any = None) -> VisionLanguage:
    """A model of transformers in memory. Raises `AnysizeError` for another type than `TYPES`."""
    kind = model.config.model_type
    if kind not in TYPES:
        raise AnysizeError(f"pictures of a model of type {kind!r} have no budget; expected {_known()}")
    return TYPES[kind](model, processor)


def _known() -> str:
    return " or ".join(TYPES)
