"""
What the language model reads: ``[begin, <audio>, sound, </audio>, <video>, lips, </video>, prompt, transcript, end]``.

The four marks are vectors that learn. In the authors' code they are tokens added to a frozen vocabulary, which keep the
values that they happened to begin with. Rows are padded on the left, and what fills them is attended to by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from anysize.core.errors import AnysizeError
from anysize.tokens.adapters.scale import FILL
from anysize.tokens.speech.scaled.scales import PROMPTS

AUDIO, VIDEO, TEXT = range(1, 4)
"""What a place of a row holds, beside `FILL`."""
IGNORED = -100
"""A label that no loss counts."""


class Row(NamedTuple):
    """One clip in so many tokens, and what is said in it."""

    task: str
    audio: torch.Tensor | None
    """(tokens, width), as the next."""
    video: torch.Tensor | None
    text: Sequence[int] = ()
    """Ids, with the end."""


class Batch(NamedTuple):
    """Rows side by side, which end at the same place."""

    embeds: torch.Tensor
    """(n, places, width)."""
    mask: torch.Tensor
    """(n, places), as the next three: 1 where there is something."""
    positions: torch.Tensor
    labels: torch.Tensor
    kinds: torch.Tensor
    """`FILL`, `AUDIO`, `VIDEO` or `TEXT`."""


class Writer:
    """Puts rows together for a language model with its tokenizer; `marks` is (4, width)."""

    def __init__(self, lm: Any, tokenizer: Any) -> None:
        self.lm, self.tokenizer = lm, tokenizer

    def ids(self, text: str) -> list[int]:
        """A transcript's ids, and the end."""
        end = self.tokenizer.eos_token_id
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], *([] if end is None else [end])]

    def around(self, task: str) -> tuple[list[int], list[int]]:
        """Ids before and after what is heard and seen."""
        begin = self.tokenizer.bos_token_id
        prompt = self.tokenizer(PROMPTS[task], add_special_tokens=False)["input_ids"]
        return ([] if begin is None else [begin]), prompt

    def batch(self, rows: Sequence[Row], marks: torch.Tensor, *, room: int = 0) -> Batch:
        """Raises `AnysizeError` if a row with `room` for what is generated is longer than the model reads."""
        table = self.lm.get_input_embeddings()
        pieces = [self._pieces(row, marks, table) for row in rows]
        lengths = [sum(len(part) for part, _ in one) for one in pieces]
        limit = getattr(self.lm.config, "max_position_embeddings", None)
        if limit is not None and max(lengths) + room > limit:
            heard = max(sum(len(part) for part, kind in one if kind in (AUDIO, VIDEO)) for one in pieces)
            raise AnysizeError(
                f"a clip takes {max(lengths) + room} tokens, {heard} of them for what is heard and seen, and the model "
                f"reads {limit}; use a smaller size, or cut the clip"
            )
        most = max(lengths)
        device = marks.device
        embeds, labels, kinds = [], [], torch.zeros(len(rows), most, dtype=torch.long, device=device)
        for place, (row, one) in enumerate(zip(rows, pieces, strict=True)):
            values = torch.cat([part for part, _ in one])
            embeds.append(nn.functional.pad(values, (0, 0, most - len(values), 0)))
            at = most - len(values)
            for part, kind in one:
                kinds[place, at : at + len(part)] = kind
                at += len(part)
            labels.append([*[IGNORED] * (most - len(row.text)), *row.text])
        mask = (kinds != FILL).long()
        return Batch(
            torch.stack(embeds), mask, (mask.cumsum(1) - 1).clamp(min=0), torch.tensor(labels, device=device), kinds
        )

    def _pieces(self, row: Row, marks: torch.Tensor, table: nn.Module) -> list[tuple[torch.Tensor, int]]:
        before, after = self.around(row.task)
        pieces = [(_embedded(before, table, marks), TEXT)]
        for place, part, kind in ((0, row.audio, AUDIO), (2, row.video, VIDEO)):
            if part is not None:
                pieces += [(marks[place : place + 1], TEXT), (part, kind), (marks[place + 1 : place + 2], TEXT)]
        return [*pieces, (_embedded([*after, *row.text], table, marks), TEXT)]

    def filler(self) -> int:
        """The id that fills up what was generated."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)


def _embedded(ids: Sequence[int], table: nn.Module, like: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = table(torch.tensor(ids, dtype=torch.long, device=like.device))
    return found
