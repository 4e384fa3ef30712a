"""Texts as windows of token numbers, each beginning and ending as the model's texts do, with the word of each token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anysize.core.errors import AnysizeError, DataError
from anysize.text.pretrain.masks import NO_WORD

FEWEST = 4
"""Tokens in words that a window must have; what is shorter teaches nothing and is left out."""
_AT_ONCE = 1000


class TokenWindows(torch.utils.data.Dataset):
    """
    Windows of at most `limit` tokens, special tokens included; a long text fills several, and none is lost.

    An item is its own number, of which `take` gives the tokens: who makes a batch knows which rows it is made of.
    Raises `DataError` if no text fills a window, `AnysizeError` for a tokenizer that does not know words or begins
    texts with no token of its own.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Any, limit: int) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise AnysizeError("masking whole words needs a fast tokenizer, one with a tokenizer.json")
        head, tail = _around(tokenizer)
        room = limit - len(head) - len(tail)
        if room < FEWEST:
            raise AnysizeError(f"a max-length of {limit} leaves room for {max(0, room)} tokens; give at least 8")
        special = np.array(tokenizer.all_special_ids)
        self._ids: list[np.ndarray] = []
        self._words: list[np.ndarray] = []
        for start in range(0, len(texts), _AT_ONCE):
            part = tokenizer(list(texts[start : start + _AT_ONCE]), add_special_tokens=False, verbose=False)
            for row, tokens in enumerate(part["input_ids"]):
                ids = np.array(tokens, np.int32)
                words = np.array([NO_WORD if one is None else one for one in part.word_ids(row)], np.int32)
                words[np.isin(ids, special)] = NO_WORD
                for first in range(0, len(ids), room):
                    if (words[first : first + room] != NO_WORD).sum() >= FEWEST:
                        self._ids.append(np.concatenate([head, ids[first : first + room], tail]))
                        blank = [np.full(len(side), NO_WORD, np.int32) for side in (head, tail)]
                        self._words.append(np.concatenate([blank[0], words[first : first + room], blank[1]]))
        if not self._ids:
            raise DataError(f"none of the {len(texts)} texts has {FEWEST} tokens; give text to learn from")

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> int:
        return index

    @property
    def tokens(self) -> int:
        """Tokens in all windows together."""
        return sum(map(len, self._ids))

    def take(self, rows: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Token numbers and words of some windows."""
        return [self._ids[row] for row in rows], [self._words[row] for row in rows]


def _around(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """The special tokens before and after a text."""
    whole = tokenizer("a", return_special_tokens_mask=True)
    ids, special = np.array(whole["input_ids"], np.int32), whole["special_tokens_mask"]
    before = special.index(0) if 0 in special else 1  # a vocabulary without "a" gives the unknown token, a special one
    if not before or tokenizer.mask_token_id is None:
        raise AnysizeError("this tokenizer has no mask token, or texts do not begin with a token of their own (CLS)")
    inside = len(tokenizer("a", add_special_tokens=False)["input_ids"])
    return ids[:before], ids[before + inside :]
