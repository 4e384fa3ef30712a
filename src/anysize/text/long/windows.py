"""The windows in which a long text is read, and the pooled tokens of each chunk, summed as the windows pass."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import torch

from anysize.backbones.layered import Backbone
from anysize.backbones.texts.spans import Span, offsets
from anysize.core.errors import AnysizeError, DataError


@dataclass(frozen=True)
class Passage:
    """One pass: the tokens that it reads, and those of them whose states are taken."""

    document: int
    ids: list[int]
    taken: list[int]
    """Places in `ids`."""
    first: int
    """What the first taken one is among the pooled tokens of its document."""


class Document:
    """One text: its tokens, and for each span the range of its pooled tokens and the sum of their states so far."""

    def __init__(self, backbone: Backbone, text: str, spans: list[Span], prefix: str, pool_prefix: bool) -> None:
        tokens = offsets(backbone.tokenizer, prefix + text)
        ids, places, special = (tokens[key] for key in ("input_ids", "offset_mapping", "special_tokens_mask"))
        inner = [place for place, one in enumerate(special) if not one]
        first, last = (inner[0], inner[-1] + 1) if inner else (len(ids), len(ids))
        # A token may begin with the space before its word (SentencePiece): it belongs where it ends.
        ends = [end - len(prefix) for _, end in places[first:last]]
        begin = first + bisect_left(ends, 1)
        self.head, self.prefix, self.text, self.tail = ids[:first], ids[first:begin], ids[begin:last], ids[last:]
        self.pooled_head = begin if pool_prefix else first
        """How many of the tokens before the text are pooled: all, or the model's own alone."""
        self.ranges = [self._range(ends[begin - first :], place, span) for place, span in enumerate(spans)]
        self.sums = torch.zeros(len(spans), backbone.transformer.config.hidden_size)

    def _range(self, ends: list[int], place: int, span: Span) -> range:
        low, high = (bisect_left(ends, bound + 1) for bound in span)
        if low == high:
            raise DataError(f"span {place}, characters {span[0]} to {span[1]}, holds no token; leave it out")
        after = len(self.tail) if high == len(ends) else 0
        return range(low + self.pooled_head if low else 0, high + self.pooled_head + after)

    def windows(self, place: int, limit: int, overlap: int | None) -> list[Passage]:
        """What to read; the last window ends with the text and so has all the context that fits."""
        before, text, tail = self.head + self.prefix, self.text, self.tail
        room = limit - len(before) - len(tail)
        shared = room // 8 if overlap is None else overlap
        if not 0 <= shared < room:
            raise AnysizeError(
                f"a window of {limit} tokens leaves room for {max(room, 0)} of the text, and the overlap of {shared} "
                "must be less"
            )
        found, start, done = [], 0, 0
        while self.ranges and done < len(text):
            part = text[start : start + room]
            opens, closes = start == 0, start + room >= len(text)
            end = len(before) + len(part) + (len(tail) if closes else 0)
            taken = [*range(self.pooled_head if opens else 0), *range(len(before) + done - start, end)]
            found.append(Passage(place, before + part + tail, taken, 0 if opens else self.pooled_head + done))
            done = start + len(part)
            start = max(0, min(start + room - shared, len(text) - room))
        return found

    def add(self, window: Passage, states: torch.Tensor) -> None:
        """Add the taken states (tokens, width) of a window to the spans they belong to."""
        for row, tokens in enumerate(self.ranges):
            begin, end = max(tokens.start, window.first), min(tokens.stop, window.first + len(states))
            if begin < end:
                self.sums[row] += states[begin - window.first : end - window.first].sum(dim=0)

    def means(self) -> torch.Tensor:
        """Mean state of each span, (spans, width)."""
        return self.sums / torch.tensor([len(tokens) for tokens in self.ranges]).reshape(-1, 1)
