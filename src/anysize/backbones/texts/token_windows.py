"""Running text as windows of tokens, to learn from and to measure language models by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anysize.core.data.held_out import held_out as kept_back
from anysize.core.errors import DataError

if TYPE_CHECKING:
    import torch

    from anysize.core.data.data import Data


def texts_of(data: Data, *, held_out: bool) -> list[str]:
    """
    The texts of `data` that are held out, or those that are not: a tenth of the distinct ones, chosen by a hash.

    Raises `DataError` if it holds no texts, or too few to hold one out.
    """
    texts = [text for text in dict.fromkeys(data.texts) if text.strip()]
    kept = kept_back(texts, data.name, "text")
    return [text for text in texts if (text in kept) == held_out]


def windows(texts: Sequence[str], tokenizer: Any, length: int, name: str) -> torch.Tensor:
    """
    Windows (n, length + 1) of tokens that do not overlap: texts one after the other, each with its end token.

    Shorter texts than one window give one window of all they have. Raises `DataError`, calling the data `name`, if
    that is less than two tokens.
    """
    import torch

    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids: list[int] = []
    for text in texts:
        ids += [*tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], *end]
    if len(ids) < 2:
        raise DataError(f"{name} holds {len(ids)} tokens; a language model needs at least 2, one to follow another")
    width = min(length + 1, len(ids))
    return torch.tensor(ids[: len(ids) // width * width]).view(-1, width)
