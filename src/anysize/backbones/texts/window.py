"""How much of a text a model reads, and the passages in which it reads all of a longer one."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anysize.backbones.texts.batching import readable
from anysize.backbones.texts.cut_texts import say_cut
from anysize.backbones.texts.spans import Span, by_sentences, offsets
from anysize.core.errors import AnysizeError

_LEAST = 8
"""Tokens of a text that a passage must have room for."""


@dataclass(frozen=True)
class Window:
    """What a model reads of a document: at most `limit` tokens, the special ones and those of the prompt included."""

    tokenizer: Any
    limit: float
    prompt: str = ""

    def say_cut(self, texts: Sequence[str], advice: str = "") -> None:
        """Tell on standard error how many texts are longer than the model reads; nothing if none is."""
        say_cut(texts, self.tokenizer, self.limit, self.prompt, advice=advice)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """
        How many tokens it reads of each text, prompt and special ones included; 0 where there is no limit.

        Texts of as many letters differ threefold in that. Where the tokenizer is none of transformers', about so many,
        rather too many than too few.
        """
        from transformers import PreTrainedTokenizerBase

        if math.isinf(self.limit):
            return [0] * len(texts)
        limit = int(self.limit)
        if not isinstance(self.tokenizer, PreTrainedTokenizerBase):
            return [min(limit, len(text) // 2 + 2) for text in texts]
        given = [self.prompt + readable(text, limit) for text in texts]
        bounded = {"truncation": True, "max_length": limit} if limit < sys.maxsize else {"truncation": False}
        rows = self.tokenizer(given, **bounded, return_attention_mask=False, verbose=False)["input_ids"]
        return [len(row) for row in rows]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """
        How many tokens the texts have, prompt and special ones included: more than `limit` where one is cut.

        Of a text that is far too long only the beginning is counted. Where the tokenizer is none of transformers',
        about so many, rather too many than too few.
        """
        from transformers import PreTrainedTokenizerBase

        if not isinstance(self.tokenizer, PreTrainedTokenizerBase):
            return [len(text) // 2 + 2 for text in texts]
        limit = sys.maxsize if math.isinf(self.limit) else int(self.limit)
        given = [self.prompt + readable(text, limit) for text in texts]
        rows = self.tokenizer(given, truncation=False, return_attention_mask=False, verbose=False)["input_ids"]
        return [
            max(len(row), limit + 1) if len(readable(text, limit)) < len(text) else len(row)
            for row, text in zip(rows, texts, strict=True)
        ]

    def passages(self, texts: Sequence[str]) -> list[list[Span]]:
        """
        The passages of each text, as spans of characters that touch: one if the model reads it whole.

        They end at ends of sentences where there are any in their second half, else at spaces. Raises `AnysizeError`
        for a tokenizer that does not say where its tokens stand, or a limit that leaves no room for text.
        """
        whole = [[(0, len(text))] for text in texts]
        if math.isinf(self.limit):
            return whole
        spare = self.tokenizer.num_special_tokens_to_add() + len(self.prompt.encode())
        # A token stands for a byte at least, so only long texts can have too many.
        long = [row for row, text in enumerate(texts) if len(text.encode()) + spare > self.limit]
        fits = self._fit([texts[row] for row in long])
        for row, fit in zip(long, fits, strict=True):
            if not fit:
                whole[row] = self._cut(texts[row])
        return whole

    def _fit(self, texts: Sequence[str]) -> list[bool]:
        if not texts:
            return []
        rows = self.tokenizer([self.prompt + text for text in texts], truncation=False, verbose=False)["input_ids"]
        return [len(row) <= self.limit for row in rows]

    def _cut(self, text: str) -> list[Span]:
        ends = [end for _, end in offsets(self.tokenizer, text, special=False)["offset_mapping"]]
        sentences = [end for _, end in by_sentences()(text)]
        before = len(self.tokenizer(self.prompt, verbose=False)["input_ids"])
        room = int(self.limit) - before
        while room >= _LEAST:
            found = _passages(text, ends, sentences, room)
            if all(self._fit([text[start:end] for start, end in found])):
                return found
            room -= max(1, room // 8)  # a piece of a word may have more tokens at the beginning of a text than inside
        raise AnysizeError(f"a limit of {self.limit} tokens leaves no room for passages; choose another model")


def _passages(text: str, ends: list[int], sentences: list[int], room: int) -> list[Span]:
    """Spans of at most `room` tokens, of which `ends` says where they end."""
    found: list[Span] = []
    start, token = 0, 0
    while len(ends) - token > room:
        last = ends[token + room - 1]
        middle = (start + last) // 2
        at = bisect_right(sentences, last)
        end = sentences[at - 1] if at and sentences[at - 1] > middle else text.rfind(" ", middle, last) + 1 or last
        found.append((start, end))
        start, token = end, bisect_right(ends, end)
    return [*found, (start, len(text))]
