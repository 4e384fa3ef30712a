"""Texts longer than a model reads are cut: how many, said once, before the time is spent."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

from anysize.backbones.texts.batching import readable

COUNTED = 4096
"""Texts that are tokenised to count; of more, so many are drawn evenly, so that counting never takes long."""


def say_cut(texts: Sequence[str], tokenizer: Any, limit: float, prompt: str = "", *, advice: str = "") -> None:
    """
    Tell on standard error how many distinct texts have more than `limit` tokens; nothing if none has.

    The same line is told once in a process, and by one process of several.
    """
    if os.environ.get("RANK", "0") != "0" or math.isinf(limit) or not hasattr(tokenizer, "num_special_tokens_to_add"):
        return  # told by another process; a static model, which reads any length; or no tokenizer of transformers
    distinct = list(dict.fromkeys(texts))
    share, exact = cut_share(distinct, tokenizer, int(limit), prompt)
    if share:
        say_once(
            f"{'' if exact else 'about '}{round(share * len(distinct))} of {len(distinct)} texts are longer than the "
            f"{int(limit)} tokens that the model reads, and were cut there{advice}"
        )


def cut_share(texts: Sequence[str], tokenizer: Any, limit: int, prompt: str = "") -> tuple[float, bool]:
    """The share of texts with more than `limit` tokens, prompt and special tokens included; and whether it is exact."""
    spare = tokenizer.num_special_tokens_to_add() + len(prompt.encode())
    # A token stands for a byte at least, so only long texts can have too many. Far beyond the limit nothing matters.
    long = [text for text in texts if len(text.encode(errors="replace")) + spare > limit]
    drawn = long[:: -(-len(long) // COUNTED)] if long else []
    if not drawn:
        return 0.0, True
    rows = tokenizer([prompt + readable(text, limit) for text in drawn], truncation=True, max_length=limit + 1)[
        "input_ids"
    ]
    return sum(len(row) > limit for row in rows) / len(drawn) * len(long) / len(texts), len(drawn) == len(long)


def say_shortened(count: int, total: int, limit: int) -> None:
    """Tell on standard error that only the ends of so many texts were read; nothing if it is none."""
    if count:
        say_once(f"{count} of {total} texts are longer than the {limit} tokens that can be read; of these the end was")


@functools.cache
def say_once(line: str) -> None:
    """Tell a line on standard error: once in a process, by one of several."""
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(line + "\n")
