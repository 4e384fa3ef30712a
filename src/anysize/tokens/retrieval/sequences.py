"""
What a document or a query of texts and pictures becomes: a prompt whose last token stands for the whole.

What does not fit is left out from the end, pictures as wholes, and the end token stays: its hidden state is the vector,
so a sequence that is cut blindly would be embedded by whatever word happened to be last.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.prompts import Prompt, read_prompt
from anysize.core.errors import DataError

Part = Mapping[str, Any]
"""``{"text": words}`` or ``{"image": a file, its bytes, an array or a Pillow image}``."""


def parts_of(row: Any) -> Sequence[Part]:
    """A text, a picture or a list of both, as a list of parts. Raises `DataError` for a sound, a film, or nothing."""
    if isinstance(row, str):
        row = [{"text": row}]
    elif not isinstance(row, (list, tuple)):
        row = [{"image": row}]
    for part in row:
        if not isinstance(part, Mapping) or part.keys() not in ({"text"}, {"image"}):
            raise DataError(f"{_named(part)} stands among the parts of an item; expected texts and images")
    if not any("image" in part or str(part["text"]).strip() for part in row):
        raise DataError("an item has neither words nor a picture; expected at least one of the two")
    return list(row)


def numbered(row: Any, what: str) -> Sequence[Part]:
    """`parts_of` of one of several, which a `DataError` calls `what`."""
    try:
        return parts_of(row)
    except DataError as error:
        raise DataError(f"{what} (from 0): {error}") from None


def pictures_of(parts: Sequence[Part]) -> list[Any]:
    """The pictures among the parts, in order."""
    return [part["image"] for part in parts if "image" in part]


def sequence(vlm: VisionLanguage, parts: Sequence[Part]) -> Prompt:
    """The parts in order, a line each, with one placeholder a picture, and the end token last."""
    token = vlm.image_token
    texts = [token if "image" in part else str(part["text"]).replace(token, "").strip() for part in parts]
    prompt = read_prompt(
        vlm.tokenizer, "\n".join(texts), vlm.placeholder, pictures=sum("image" in part for part in parts)
    )
    end = vlm.tokenizer.eos_token_id
    last = prompt.pieces[-1]
    if end is None or last[-1:] == (end,):
        return prompt
    return Prompt((*prompt.pieces[:-1], (*last, end)))


def shortened(prompt: Prompt, count: int, limit: int) -> Prompt:
    """
    What fits in `limit` tokens at `count` a picture: words and whole pictures from the front, and the last token.

    Raises `DataError` where not even one token fits beside the last.
    """
    if prompt.length([count] * prompt.pictures) <= limit:
        return prompt
    if limit < 2:
        raise DataError(f"a limit of {limit} tokens leaves room for nothing but the end; expected at least 2")
    *before, last = prompt.pieces
    room, kept = limit - 1, list[tuple[int, ...]]()
    for place, piece in enumerate([*before, last[:-1]]):
        if place and (room := room - count) < 0:
            break
        kept.append(piece[:room])
        room -= len(kept[-1])
        if len(kept[-1]) < len(piece):
            break
    return Prompt((*kept[:-1], (*kept[-1], last[-1])))


def last_real(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """State of each row's last token that is no filler, (n, tokens, width) -> (n, width), wherever fillers stand."""
    place = mask.shape[1] - 1 - mask.flip(1).argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), place]


def _named(part: Any) -> str:
    if isinstance(part, Mapping) and part:
        kind, held = next(iter(part.items()))
        return f"{kind} {os.path.basename(held) if isinstance(held, (str, os.PathLike)) else ''}".strip()
    return repr(part)[:80]
