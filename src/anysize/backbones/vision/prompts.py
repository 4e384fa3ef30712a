"""
A question about pictures as token ids, with as many placeholders for each picture as its budget.

The library's processors write the placeholders of the full grid into the text. Here the text is read once, with one
placeholder a picture, and repeated for the budget that is asked for, so that the count is known before anything is
encoded and may differ from row to row of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from anysize.core.errors import AnysizeError, DataError

IGNORED = -100
"""A label that no loss counts."""


@dataclass(frozen=True)
class Prompt:
    """What stands between the pictures of one question, and what should be answered."""

    pieces: tuple[tuple[int, ...], ...]
    """Token ids before, between and after the pictures: one more than there are pictures."""
    answer: tuple[int, ...] = ()

    @property
    def pictures(self) -> int:
        """How many pictures it shows."""
        return len(self.pieces) - 1

    def length(self, counts: Sequence[int]) -> int:
        """Tokens of all, at so many for each picture."""
        return sum(map(len, self.pieces)) + sum(counts) + len(self.answer)

    def ids(self, counts: Sequence[int], placeholder: int) -> list[int]:
        """Token ids without the answer, at so many for each picture."""
        found = list(self.pieces[0])
        for count, piece in zip(counts, self.pieces[1:], strict=True):
            found += [placeholder] * count + list(piece)
        return found


class Batch(NamedTuple):
    """Prompts side by side, padded on the left, so that their answers begin at the same place."""

    ids: torch.Tensor
    """(n, tokens)."""
    mask: torch.Tensor
    """(n, tokens): 1 where there is a token."""
    positions: torch.Tensor
    """(n, tokens): counted from each prompt's own first token."""
    labels: torch.Tensor
    """(n, tokens): the answers' ids, `IGNORED` elsewhere."""


def read_prompt(tokenizer: Any, text: str, placeholder: int, *, pictures: int, answer: str | None = None) -> Prompt:
    """
    A prompt of a text that holds the picture's token once a picture, and its answer with the end token.

    Raises `DataError` if the text holds another number of pictures than are given.
    """
    ids = tokenizer(text)["input_ids"]
    pieces: list[tuple[int, ...]] = []
    piece: list[int] = []
    for one in ids:
        if one == placeholder:
            pieces.append(tuple(piece))
            piece = []
        else:
            piece.append(one)
    pieces.append(tuple(piece))
    if len(pieces) - 1 != pictures:
        raise DataError(f"{pictures} pictures beside a text that has room for {len(pieces) - 1}: {text[:80]!r}")
    wanted: list[int] = []
    if answer is not None:
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        wanted = [*tokenizer(answer, add_special_tokens=False)["input_ids"], *end]
    return Prompt(tuple(pieces), tuple(wanted))


def check_room(prompt: Prompt, counts: Sequence[int], limit: int | None, room: int = 0) -> None:
    """
    Raise `AnysizeError` if a prompt and `room` tokens of an answer to come are longer than `limit` tokens.

    Nothing is cut: with its end a prompt would lose its question or its answer.
    """
    length = prompt.length(counts)
    if limit is None or length + room <= limit:
        return
    written = f", with {room} more for its answer" if room else ""
    raise AnysizeError(
        f"a question takes {length} tokens, {sum(counts)} of them for pictures{written}, and the model reads {limit}; "
        "ask in fewer words or at fewer tokens a picture"
    )


def batched(
    prompts: Sequence[Prompt],
    counts: Sequence[Sequence[int]],
    placeholder: int,
    filler: int,
    limit: int | None = None,
    room: int = 0,
) -> Batch:
    """
    Prompts with their answers at `counts[row][picture]` tokens a picture.

    Raises `AnysizeError` as `check_room` does.
    """
    rows = []
    for prompt, row in zip(prompts, counts, strict=True):
        check_room(prompt, row, limit, room)
        rows.append((prompt.ids(row, placeholder), list(prompt.answer)))
    longest = max(len(ids) + len(answer) for ids, answer in rows)
    shape = (len(rows), longest)
    found = Batch(
        torch.full(shape, filler), torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long),
        torch.full(shape, IGNORED),
    )  # fmt: skip
    for place, (ids, answer) in enumerate(rows):
        start = longest - len(ids) - len(answer)
        found.ids[place, start:] = torch.tensor(ids + answer)
        found.mask[place, start:] = 1
        found.positions[place, start:] = torch.arange(longest - start)
        if answer:
            found.labels[place, longest - len(answer) :] = torch.tensor(answer)
    return found
