"""A vision tower and a language model, joined by a projector that has yet to learn (LLaVA, Liu et al. 2023)."""

from __future__ import annotations

import os
from typing import Any

import torch

from anysize.backbones.huggingface import opening, pretrained
from anysize.backbones.vision.llava import VisionLanguage
from anysize.core.errors import AnysizeError
from anysize.core.quiet import quiet

IMAGE = "<image>"
"""The token that stands for a picture."""


def joined(tower: str | os.PathLike[str], language: str | os.PathLike[str], *, layer: int = -1) -> VisionLanguage:
    """
    A tower and a causal language model, each by folder or hub name, as one LLaVA; `layer` of the tower's hidden states.

    Of a two-tower model (CLIP, SigLIP) the vision half is taken. Raises `AnysizeError` if either cannot be opened, the
    tower has no square patches, or no such layer.
    """
    from transformers import AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoTokenizer, LlavaProcessor

    with opening("vision tower", tower):
        seer = pretrained(AutoModel, tower, dtype=torch.float32)
        pictures = pretrained(AutoImageProcessor, tower)
    seer = getattr(seer, "vision_model", seer)
    with opening("language model", language):
        speaker = pretrained(AutoModelForCausalLM, language, dtype=torch.float32)
        tokenizer = pretrained(AutoTokenizer, language)
    if not isinstance(getattr(seer.config, "patch_size", None), int):
        raise AnysizeError(f"{os.fspath(tower)} does not see in square patches; expected a vision transformer")
    depth = int(seer.config.num_hidden_layers)
    if not -depth - 1 <= layer <= depth:
        raise AnysizeError(f"layer {layer} of a tower of {depth} blocks; expected {-depth - 1} to {depth}")
    tokenizer.add_special_tokens({"extra_special_tokens": [IMAGE]})
    placeholder = tokenizer.convert_tokens_to_ids(IMAGE)
    if placeholder >= speaker.get_input_embeddings().num_embeddings:
        with quiet():
            speaker.resize_token_embeddings(placeholder + 1)
    extra = _extra(seer, pictures)
    model = _assembled(seer, speaker, placeholder, layer, extra)
    processor = LlavaProcessor(
        pictures, tokenizer, patch_size=seer.config.patch_size, chat_template=None, image_token=IMAGE,
        vision_feature_select_strategy="default" if extra else "full", num_additional_image_tokens=extra,
    )  # fmt: skip
    return VisionLanguage(model, processor)


def _assembled(seer: Any, speaker: Any, placeholder: int, layer: int, extra: int) -> Any:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    side = int(seer.config.image_size) // int(seer.config.patch_size)
    config = LlavaConfig(
        vision_config=seer.config.to_dict(), text_config=speaker.config.to_dict(), image_token_index=placeholder,
        image_seq_length=side**2, vision_feature_layer=layer,
        vision_feature_select_strategy="default" if extra else "full",
        tie_word_embeddings=bool(speaker.config.tie_word_embeddings),
    )  # fmt: skip
    with quiet():
        model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(seer.state_dict())
    model.model.language_model.load_state_dict(speaker.get_decoder().state_dict())
    model.lm_head.load_state_dict(speaker.get_output_embeddings().state_dict())
    model.tie_weights()
    return model.eval()


def _extra(seer: Any, pictures: Any) -> int:
    """How many tokens the tower gives beside its patches: a class token, or none."""
    side, patch = int(seer.config.image_size), int(seer.config.patch_size)
    with torch.no_grad():
        found = seer(torch.zeros(1, 3, side, side)).last_hidden_state.shape[1] - (side // patch) ** 2
    if found not in (0, 1):
        raise AnysizeError(f"the tower gives {found} tokens beside its patches; expected a class token or none")
    return int(found)
