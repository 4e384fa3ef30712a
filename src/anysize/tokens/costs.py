"""
What tokens cost a language model, counted before anything is encoded.

With P weights beside the embeddings, L blocks of width D and T tokens, reading takes about 2 P T + 4 L T^2 D
operations; a token keeps 2 L values per key-value head.
"""

from __future__ import annotations

from typing import Any


def reading(weights: int, config: Any, tokens: int) -> int:
    """Operations of a transformer of that configuration over so many tokens."""
    return int(2 * weights * tokens + 4 * config.num_hidden_layers * tokens**2 * config.hidden_size)


def kept_bytes(config: Any, tokens: int, each: int) -> int:
    """Bytes of the keys and values that so many tokens keep, at `each` bytes a number."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * each * tokens)
