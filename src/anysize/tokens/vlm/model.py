"""A vision-language model at any number of tokens a picture: pooled grids (M3) or a prefix of queries (MQT)."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from anysize.backbones.vision.pictures import picture
from anysize.backbones.vision.prompts import Prompt
from anysize.core.errors import DataError
from anysize.core.model.cost import Cost
from anysize.core.sides import Side
from anysize.core.sizes.size import Size
from anysize.tokens.vlm.costs import cache_bytes, language_flops, tower_flops
from anysize.tokens.vlm.holding import HoldsVLM


class Asked(NamedTuple):
    """A question about one picture."""

    picture: Any
    """A file, an array or a Pillow image."""
    question: str
    answer: str | None = None


class Read(NamedTuple):
    """Questions, and all tokens of their pictures."""

    prompts: list[Prompt]
    tokens: torch.Tensor
    """(pictures, all, width)."""
    which: list[int]
    """The picture of each question."""


def asked(row: Any) -> Asked:
    """A question about one picture of parts: ``[{"image": file}, {"text": words}]``. Raises `DataError` for others."""
    if isinstance(row, Asked):
        return row
    pictures = [part["image"] for part in row if "image" in part]
    words = " ".join(str(part["text"]) for part in row if "text" in part).strip()
    if len(pictures) != 1 or not words:
        raise DataError(
            f"expected a question about one picture; got {len(pictures)} pictures and "
            f"{'no question' if not words else repr(words[:80])}"
        )
    return Asked(pictures[0], words)


class NestedVLM(HoldsVLM):
    """
    Answers questions about pictures at every number of tokens that `nesting` names on the axis ``tokens``.

    What `budget` is, and what is refused, `HoldsVLM` says.
    """

    kind = "vlm"
    reads = ("parts",)
    gives = "text"
    evaluators = ("answers",)
    rivals: ClassVar[Mapping[str, str]] = {
        "full-cut": "anysize.tokens.vlm.rivals:full_cut",
        "single": "anysize.core.verbs.rivals:single",
        "random": "anysize.tokens.vlm.rivals:random",
    }
    exports: ClassVar[Mapping[str, str]] = {"transformers": "anysize.tokens.vlm.export:write"}
    # Running

    def encode(self, pictures: Sequence[Any]) -> torch.Tensor:
        """All tokens of each picture (n, all, width), of which every size keeps some: one pass of the tower."""
        return self.vlm.encode(self.vlm.pixels([picture(one) for one in pictures]))

    def _outputs(self, example: Sequence[Asked], asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Logits of the answer's first token, (n, vocabulary), for questions about pictures."""
        tokens = self.encode([one.picture for one in example])
        prompts = [self.vlm.prompt(one.question) for one in example]
        found = {}
        for size, kept in self.keep(tokens, asked).items():
            batch = self.vlm.batch(prompts, [[size.tokens]] * len(prompts))
            found[size] = self.vlm.logits(batch, list(kept), last=1)[:, -1].float()
        return found

    @property
    def origin(self) -> int:
        """Models of one origin answer from the same `read`."""
        return id(self.net)

    @torch.no_grad()
    def read(self, rows: Sequence[Any], *, batch_size: int = 32, folder: Path | None = None) -> Read:
        """
        What all sizes answer from: one pass of the tower over questions about pictures, as `Asked` or in parts.

        With a `folder`, the tokens of the pictures are kept in a file there. Raises `DataError` for a question without
        a picture, or the reverse.
        """
        listed = [asked(row) for row in rows]
        prompts = [self.vlm.prompt(one.question) for one in listed]
        places: dict[Any, int] = {}  # a picture that several ask about is seen once
        which = [places.setdefault(_known(one.picture), len(places)) for one in listed]
        first = [which.index(place) for place in range(len(places))]
        kept: torch.Tensor | None = None
        for start in range(0, len(first), batch_size):
            found = self.encode([listed[row].picture for row in first[start : start + batch_size]])
            if kept is None:
                kept = _room((len(first), *found.shape[1:]), found, folder)
            kept[start : start + len(found)] = found
        return Read(prompts, torch.empty(0) if kept is None else kept, which)

    @torch.no_grad()
    def answers(
        self, read: Read, *, tokens: Sequence[int] | None = None, max_new_tokens: int = 32, batch_size: int = 32
    ) -> list[str]:
        """
        Answers at this view's size, the likeliest token first at every step; `tokens` gives each question its own.

        Raises `SizeError` for a budget that the model has not, and `AnysizeError` for a question that is too long.
        """
        counts = [self.size.tokens] * len(read.prompts) if tokens is None else list(tokens)
        for count in set(counts):
            self.nesting.resolve(tokens=count)
        said: list[str] = []
        for start in range(0, len(counts), batch_size):
            rows = range(start, min(start + batch_size, len(counts)))
            batch = self.vlm.batch(
                [read.prompts[row] for row in rows], [[counts[row]] for row in rows], room=max_new_tokens
            )
            kept = [self._kept(read.tokens[read.which[row]], counts[row]) for row in rows]
            said += self.vlm.generate(batch, kept, max_new_tokens)
        return said

    def _kept(self, tokens: torch.Tensor, count: int) -> torch.Tensor:
        return self.budget.keep(tokens[None], count, self.vlm.shape)[0]

    def generate(self, items: Sequence[Any], *, max_new_tokens: int = 32) -> list[str]:
        """Answers at this view's size. A question that is too long is refused before anything is encoded."""
        for row in items:
            self.vlm.batch([self.vlm.prompt(asked(row).question)], [[self.size.tokens]], room=max_new_tokens)
        return self.answers(self.read(items), max_new_tokens=max_new_tokens)

    @torch.no_grad()
    def first_token(self, rows: Sequence[Any]) -> torch.Tensor:
        """Logits of the answer's first token: the tower, the budget and the language model's reading."""
        return self([asked(row) for row in rows])

    def run(self, items: Sequence[Any], *, side: Side | None = None, max_new_tokens: int = 32) -> list[str]:
        """An answer to each question about a picture: `generate`."""
        return self.generate(items, max_new_tokens=max_new_tokens)

    # The contract

    def paid(self) -> str:
        """Tokens and memory of one picture."""
        return f"{self.size.tokens} tokens a picture, {self.cost().bytes:,} bytes of keys and values"

    def cost(self) -> Cost:
        """Bytes of the keys and values of one picture; operations until the first token of an answer."""
        tokens = self.size.tokens
        count = sum(weight.numel() for weight in self.net.parameters())
        flops = tower_flops(self.vlm) + language_flops(self.vlm, tokens)
        return Cost(bytes=cache_bytes(self.vlm, tokens), parameters=count, flops=flops)


def _known(picture: Any) -> Any:
    """By which a picture is known to be the same: its path or bytes, else that it is one object."""
    return picture if isinstance(picture, (str, bytes, Path)) else id(picture)


def _room(shape: tuple[int, ...], like: torch.Tensor, folder: Path | None) -> torch.Tensor:
    """An empty tensor of this shape, in a file of its own if there is a folder."""
    if folder is None:
        return like.new_empty(shape)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=like.dtype).view(shape)
