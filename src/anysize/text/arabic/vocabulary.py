"""How well a tokenizer knows a language, before anything is trained: unknown tokens, and words cut to pieces."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anysize.core.errors import DataError

_CONTINUES = ("##", "▁", "Ġ", "@@")


@dataclass(frozen=True)
class TokenizerReport:
    """Counts over some texts; special tokens do not count, and words are what white space separates."""

    words: int
    tokens: int
    unknown: int
    single_characters: int

    @property
    def unknown_rate(self) -> float:
        """The share of tokens that stand for anything the vocabulary lacks."""
        return self.unknown / max(1, self.tokens)

    @property
    def tokens_per_word(self) -> float:
        """About 1.2 to 2 where the tokenizer knows the language; 4 and more where it spells words out."""
        return self.tokens / max(1, self.words)

    @property
    def single_character_rate(self) -> float:
        """The share of tokens that are one character: near 1 where an English vocabulary meets Arabic."""
        return self.single_characters / max(1, self.tokens)

    def to_json(self) -> dict[str, float]:
        """The counts and the three rates."""
        return {
            "words": self.words,
            "tokens": self.tokens,
            "unknown_rate": self.unknown_rate,
            "tokens_per_word": self.tokens_per_word,
            "single_character_rate": self.single_character_rate,
        }


def tokenizer_report(tokenizer: Any, texts: Sequence[str]) -> TokenizerReport:
    """
    Count what a tokenizer makes of some texts.

    `tokenizer` is one of `transformers` or of `tokenizers`, or a sentence-transformers model.
    Raises `DataError` for anything else, or if the texts hold no words.
    """
    words = sum(len(text.split()) for text in texts)
    if isinstance(texts, str) or not words:
        raise DataError("a tokenizer is judged on a list of texts with words in them")
    tokenizer = tokenizer if hasattr(tokenizer, "encode_batch") else getattr(tokenizer, "tokenizer", tokenizer)
    if hasattr(tokenizer, "encode_batch"):  # tokenizers.Tokenizer
        rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        unknown, name = _unknown_of(tokenizer), tokenizer.id_to_token
    elif hasattr(tokenizer, "convert_ids_to_tokens"):  # transformers
        rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        unknown, name = tokenizer.unk_token_id, tokenizer.convert_ids_to_tokens
    else:
        raise DataError(f"{type(tokenizer).__name__} is not a tokenizer of transformers or tokenizers")
    counts = Counter(token for row in rows for token in row)
    alone = sum(many for token, many in counts.items() if token != unknown and len(_bare(name(token))) == 1)
    return TokenizerReport(words, counts.total(), 0 if unknown is None else counts[unknown], alone)


def _bare(token: str) -> str:
    """Without the marks that say whether a token begins or continues a word."""
    for mark in _CONTINUES:
        token = token.removeprefix(mark).removesuffix(mark)
    return token


def _unknown_of(tokenizer: Any) -> int | None:
    """The number of the unknown token; a unigram model names it by number only."""
    token = getattr(tokenizer.model, "unk_token", None)
    return tokenizer.token_to_id(token) if token else json.loads(tokenizer.to_str())["model"].get("unk_id")
