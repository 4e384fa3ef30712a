"""Where a long text is divided: chunkers give spans of characters, (start, end), which models turn into tokens."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from anysize.core.errors import AnysizeError, DataError

Span = tuple[int, int]
Chunker = Callable[[str], Sequence[Span]]

# A sentence ends at a full stop, question or exclamation mark (closing quotes and brackets belong to it) before a
# space, at a mark of scripts that write no space after it, and at a line end.
_END = re.compile(r"[.!?\u061f][\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]+|\n")


def by_sentences(count: int = 1) -> Chunker:
    """A chunker that puts every `count` sentences together; its spans touch, so each character is in one of them."""
    if count < 1:
        raise AnysizeError(f"a chunk holds at least 1 sentence; got {count}")

    def spans(text: str) -> list[Span]:
        ends = [match.end() for match in _END.finditer(text)]
        # A line that holds nothing is no sentence: it goes with what stands before it.
        kept = [end for place, end in enumerate(ends) if text[ends[place - 1] if place else 0 : end].strip()]
        return _touching(text, kept[count - 1 :: count])

    return spans


def by_tokens(tokenizer: Any, count: int = 256) -> Chunker:
    """A chunker that puts every `count` tokens of a (fast) tokenizer together; its spans touch."""
    if count < 1:
        raise AnysizeError(f"a chunk holds at least 1 token; got {count}")

    def spans(text: str) -> list[Span]:
        ends = [end for _, end in offsets(tokenizer, text, special=False)["offset_mapping"]]
        return _touching(text, ends[count - 1 :: count])

    return spans


def _touching(text: str, ends: Sequence[int]) -> list[Span]:
    """Spans from one end to the next; what follows the last is a span of its own if anything is written there."""
    if not text.strip():
        return []
    cuts = [0, *sorted({end for end in ends if end < len(text)}), len(text)]
    if len(cuts) > 2 and not text[cuts[-2] :].strip():
        del cuts[-2]
    return list(itertools.pairwise(cuts))


def offsets(tokenizer: Any, text: str, *, special: bool = True) -> Any:
    """Ids and character offsets of all tokens of a text, uncut. Raises `AnysizeError` without a fast tokenizer."""
    if not getattr(tokenizer, "is_fast", False):
        raise AnysizeError(f"{type(tokenizer).__name__} does not say where its tokens stand; give a fast tokenizer")
    return tokenizer(
        text,
        add_special_tokens=special,
        truncation=False,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )


def checked(spans: Sequence[Span], text: str) -> list[Span]:
    """The spans as pairs of int. Raises `DataError` for one that is empty, backwards or outside the text."""
    found = []
    for place, span in enumerate(spans):
        try:
            start, end = (int(bound) for bound in span)
        except (TypeError, ValueError):
            raise DataError(f"span {place} is {span!r}; expected (start, end) in characters") from None
        if not 0 <= start < end <= len(text):
            raise DataError(f"span {place} is ({start}, {end}); expected 0 <= start < end <= {len(text)} characters")
        found.append((start, end))
    return found
