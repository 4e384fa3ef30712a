"""A vision-language model at any number of tokens a picture: pooled grids (M3) or a prefix of queries (MQT)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.pictures import picture
from anysize.backbones.vision.prompts import check_room
from anysize.core.errors import AnysizeError
from anysize.core.model.cost import Cost
from anysize.core.model.manifest import needed
from anysize.core.model.reported import Reported
from anysize.core.sides import Side
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.tokens.chooser import FEWEST, Chooser
from anysize.tokens.vlm.asking import Asked, Read, asked, known, room
from anysize.tokens.vlm.costs import cache_bytes, language_flops, tower_flops
from anysize.tokens.vlm.holding import HoldsVLM


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
    panels = ("anysize.tokens.vlm.kinds_panel:by_kind", "anysize.tokens.vlm.pictures_panel:pictures")
    exports: ClassVar[Mapping[str, str]] = {
        "transformers": "anysize.tokens.vlm.export:write",
        "anysize": "anysize.core.model.exporting:whole",
    }

    def __init__(self, nesting: Nesting, vlm: VisionLanguage, budget: Mapping[str, Any]) -> None:
        super().__init__(nesting, vlm, budget)
        self.chooser: Chooser | None = None
        """What chooses a budget for each question, once that is learnt."""

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
            with self.adapting(size.tokens, batch):
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
        which = [places.setdefault(known(one.picture), len(places)) for one in listed]
        first = [which.index(place) for place in range(len(places))]
        kept: torch.Tensor | None = None
        for start in range(0, len(first), batch_size):
            found = self.encode([listed[row].picture for row in first[start : start + batch_size]])
            if kept is None:
                kept = room((len(first), *found.shape[1:]), found, folder)
            kept[start : start + len(found)] = found
        return Read(prompts, torch.empty(0) if kept is None else kept, which)

    @torch.no_grad()
    def answers(
        self,
        read: Read,
        *,
        tokens: Sequence[int] | None = None,
        max_new_tokens: int = 32,
        batch_size: int = 32,
        first: Callable[[], None] | None = None,
        told: Callable[[str], None] | None = None,
    ) -> list[str]:
        """
        Answers at this view's size, the likeliest token at every step; `tokens` gives each question its own. `first` is
        called once there is a first token of each answer of a batch, `told` after each token with all that was said so
        far, of one question alone.

        Raises `SizeError` for a budget that the model has not, and `AnysizeError` for a question that is too long.
        """
        counts = [self.size.tokens] * len(read.prompts) if tokens is None else list(tokens)
        for count in set(counts):
            self.nesting.resolve(tokens=count)
        for prompt, count in zip(read.prompts, counts, strict=True):
            check_room(prompt, [count], self.vlm.longest, max_new_tokens)
        said = [""] * len(counts)
        # Adapters of a size run with rows of that size alone; without any, a batch may hold several.
        groups = [[*range(len(counts))]]
        if self.adapters is not None:
            groups = [[row for row, one in enumerate(counts) if one == count] for count in dict.fromkeys(counts)]
        for rows in (group[at : at + batch_size] for group in groups for at in range(0, len(group), batch_size)):
            batch = self.vlm.batch(
                [read.prompts[row] for row in rows], [[counts[row]] for row in rows], room=max_new_tokens
            )
            kept = [self._kept(read.tokens[read.which[row]], counts[row]) for row in rows]
            with self.adapting(counts[rows[0]], batch):
                wrote = self.vlm.generate(batch, kept, max_new_tokens, first, told)
            for row, text in zip(rows, wrote, strict=True):
                said[row] = text
        return said

    def _kept(self, tokens: torch.Tensor, count: int) -> torch.Tensor:
        return self.budget.keep(tokens[None], count, self.vlm.shape)[0]

    def generate(self, items: Sequence[Any], *, max_new_tokens: int = 32, batch_size: int = 32) -> list[str]:
        """Answers at this view's size. A question that is too long is refused before anything is encoded."""
        return list(self.run(items, max_new_tokens=max_new_tokens, batch_size=batch_size))

    def run(
        self,
        items: Sequence[Any],
        *,
        side: Side | None = None,
        max_new_tokens: int = 32,
        batch_size: int = 32,
        told: Callable[[str], None] | None = None,
    ) -> Reported:
        """
        `generate`, with the tokens that each picture took, the memory of these, and the time to the first word.

        Raises `AnysizeError` for an option that is not above zero.
        """
        for name, value in (("max-new-tokens", max_new_tokens), ("batch-size", batch_size)):
            if value < 1:
                raise AnysizeError(f"{name} must be above zero; got {value}")
        for row in items:
            check_room(self.vlm.prompt(asked(row).question), [self.size.tokens], self.vlm.longest, max_new_tokens)
        said = Reported()
        for start in range(0, len(items), batch_size):
            said.add(self._answered(items[start : start + batch_size], max_new_tokens, told))
        return said

    def _answered(self, rows: Sequence[Any], most: int, told: Callable[[str], None] | None) -> Reported:
        begin, first = time.perf_counter(), []
        read = self.read(rows, batch_size=len(rows))
        chosen = self.chooser.pick(self.margins(read)) if self.chooses and self.chooser is not None else None
        counts = [int(self.size.tokens)] * len(rows) if chosen is None else chosen
        said = self.answers(
            read, tokens=counts, max_new_tokens=most, batch_size=len(rows),
            first=lambda: first.append(time.perf_counter() - begin), told=told,
        )  # fmt: skip
        ms = round(1000 * first[0], 3)
        took = ({"tokens": one, "cache_bytes": cache_bytes(self.vlm, one), "ms_to_first_token": ms} for one in counts)
        return Reported(said, took)

    @torch.no_grad()
    def margins(self, read: Read, *, batch_size: int = 32) -> np.ndarray:
        """How far the log-probabilities of the two best first tokens are apart at the smallest size, (questions,)."""
        count, found = int(self.nesting[0].tokens), []
        for start in range(0, len(read.prompts), batch_size):
            prompts = read.prompts[start : start + batch_size]
            kept = [self._kept(read.tokens[place], count) for place in read.which[start : start + batch_size]]
            batch = self.vlm.batch(prompts, [[count]] * len(prompts))
            with self.adapting(count, batch):
                logits = self.vlm.logits(batch, kept, last=1)[:, -1]
            best = logits.float().log_softmax(-1).topk(2).values
            found.append((best[:, 0] - best[:, 1]).cpu())
        return torch.cat(found).numpy()

    def choosing(self) -> Self:
        """A view that chooses tokens for each question, from how sure it is at the smallest size."""
        if self.chooser is None:
            raise AnysizeError(
                f"this model has not learnt to choose a size (fit does, where it holds out {FEWEST} questions or "
                f"more); name one, such as {self.size}"
            )
        view = self.at()
        view.chooses, view.chooser = True, self.chooser.up_to(int(self.nesting.full.tokens))
        return view

    @torch.no_grad()
    def first_token(self, rows: Sequence[Any]) -> torch.Tensor:
        """Logits of the answer's first token: the tower, the budget and the language model's reading."""
        return self([asked(row) for row in rows])

    # The contract

    def cost(self) -> Cost:
        """Bytes of the keys and values of one picture; operations until the first token of an answer."""
        tokens = self.size.tokens
        owned = self.owned_tensors()
        count = sum(one.numel() for name, one in self.named_parameters() if needed(owned.get(name), self.size))
        flops = tower_flops(self.vlm) + language_flops(self.vlm, tokens)
        return Cost(bytes=cache_bytes(self.vlm, tokens), parameters=count, flops=flops)

    def config(self) -> dict[str, Any]:
        """The model's own configuration, how its tokens become fewer, and what chooses among them."""
        known = {} if self.chooser is None else {"chooser": self.chooser.to_json()}
        return {**super().config(), **known}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration, without what prepares pictures and texts."""
        made = super().build(config, nesting)
        made.chooser = Chooser.from_json(config["chooser"]) if "chooser" in config else None
        return made
