"""
How prompts and targets become tokens: one sequence of ids for both, so that no token crosses their border.

The prompt goes into the model's chat template, where it has one; the target ends with the end-of-text token.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anysize.core.errors import DataError
from anysize.core.quiet import quiet
from anysize.editing.requests.request import EditRequest


@dataclass(frozen=True)
class Encoded:
    """A prompt and its target as one sequence of ids; the target begins at `start`."""

    ids: tuple[int, ...]
    start: int

    @property
    def target(self) -> tuple[int, ...]:
        """The ids of the target, its end among them."""
        return self.ids[self.start :]


class Prompting:
    """Ids of prompts and targets for one model. `chat`: whether to use its template; where it has one unless said."""

    def __init__(self, tokenizer: Any, places: int | None = None, chat: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self.places = places or sys.maxsize
        self.chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat

    def prompt(self, text: str) -> list[int]:
        """Ids of a prompt, up to where the answer begins."""
        if self.chat:
            asked = [{"role": "user", "content": text}]
            written = self.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
            return self._ids(written)  # the template writes the special tokens itself
        with quiet():
            found: list[int] = list(self.tokenizer(text)["input_ids"])
        end = self.tokenizer.eos_token_id
        return found[:-1] if len(found) > 1 and found[-1] == end else found

    def target(self, text: str) -> list[int]:
        """Ids of what is answered, and the end-of-text token where the tokenizer has one."""
        spaced = text.strip() if self.chat else f" {text.strip()}"
        end = self.tokenizer.eos_token_id
        return self._ids(spaced) + ([] if end is None else [int(end)])

    def _ids(self, text: str) -> list[int]:
        with quiet():
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, request: EditRequest) -> Encoded:
        """
        A request as one sequence.

        Raises `DataError`, with both counts, if it is longer than the model's context.
        """
        return self.pair(request.prompt, request.target_new, request.id)

    def pair(self, prompt: str, target: str, name: str = "") -> Encoded:
        """The same, of any prompt and target."""
        asked, said = self.prompt(prompt), self.target(target)
        where = f"edit {name}: " if name else ""
        if not asked or len(said) < 2:
            raise DataError(f"{where}the prompt or the target holds no token that the model knows; give both words")
        if len(asked) + len(said) > self.places:
            raise DataError(
                f"{where}the prompt has {len(asked)} tokens and the target {len(said)}, and the model reads "
                f"{self.places}; shorten the target"
            )
        return Encoded((*asked, *said), len(asked))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without special tokens."""
        found: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return found
