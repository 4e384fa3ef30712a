"""What a picture costs a language model; the tower costs the same at every budget, and is told apart."""

from __future__ import annotations

from anysize.backbones.vision.llava import VisionLanguage
from anysize.tokens.costs import kept_bytes, reading

TEXT = 30
"""Tokens of text beside a picture, where costs are compared (as in M3, section 4)."""


def language_flops(vlm: VisionLanguage, tokens: int, text: int = TEXT) -> int:
    """Operations until the first token of the answer, after the tower, for `tokens` of a picture and some of text."""
    language = vlm.model.model.language_model
    embedding = language.get_input_embeddings()
    weights = sum(weight.numel() for weight in language.parameters()) - embedding.weight.numel()
    head = 2 * vlm.model.lm_head.weight.numel()  # of the last token alone
    return reading(weights, vlm.text, tokens + text) + head


def tower_flops(vlm: VisionLanguage) -> int:
    """Operations of the tower and the projector for one picture: the same at every budget."""
    tokens, pairs, given = vlm.reads()
    projector = set(vlm.projector.parameters())
    weights = sum(weight.numel() for weight in vlm.tower.parameters() if weight not in projector)
    joins = sum(weight.numel() for weight in projector)
    return int(2 * weights * tokens + 4 * pairs * vlm.vision.hidden_size + 2 * joins * given)


def cache_bytes(vlm: VisionLanguage, tokens: int) -> int:
    """Bytes of keys and values that so many tokens keep while an answer is written."""
    return kept_bytes(vlm.text, tokens, next(iter(vlm.model.model.language_model.parameters())).element_size())
