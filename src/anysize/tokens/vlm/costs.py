"""
What a picture costs a language model, counted before anything is encoded.

With P weights beside the embeddings, L blocks of width D and T tokens, reading a prompt takes about 2 P T + 4 L T^2 D
operations; a token keeps 2 L values per key-value head. The tower costs the same at every budget, and is told apart.
"""

from __future__ import annotations

from typing import Any

from anysize.backbones.vision.llava import VisionLanguage

TEXT = 30
"""Tokens of text beside a picture, where costs are compared (as in M3, section 4)."""


def language_flops(vlm: VisionLanguage, tokens: int, text: int = TEXT) -> int:
    """Operations until the first token of the answer, after the tower, for `tokens` of a picture and some of text."""
    language = vlm.model.model.language_model
    embedding = language.get_input_embeddings()
    weights = sum(weight.numel() for weight in language.parameters()) - embedding.weight.numel()
    head = 2 * vlm.model.lm_head.weight.numel()  # of the last token alone
    return _transformer(weights, vlm.text, tokens + text) + head


def tower_flops(vlm: VisionLanguage) -> int:
    """Operations of the tower and the projector for one picture: the same at every budget."""
    tokens, pairs, given = vlm.reads()
    projector = set(vlm.projector.parameters())
    weights = sum(weight.numel() for weight in vlm.tower.parameters() if weight not in projector)
    joins = sum(weight.numel() for weight in projector)
    return int(2 * weights * tokens + 4 * pairs * vlm.vision.hidden_size + 2 * joins * given)


def cache_bytes(vlm: VisionLanguage, tokens: int) -> int:
    """Bytes of keys and values that so many tokens keep while an answer is written."""
    text = vlm.text
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    each = next(iter(vlm.model.model.language_model.parameters())).element_size()
    return int(2 * text.num_hidden_layers * heads * width * each * tokens)


def _transformer(weights: int, config: Any, tokens: int) -> int:
    return int(2 * weights * tokens + 4 * config.num_hidden_layers * tokens**2 * config.hidden_size)
