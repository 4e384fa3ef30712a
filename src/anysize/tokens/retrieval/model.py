"""
One vector for a document or a query of texts and pictures, at any number of tokens a picture (MME, section 4).

The vector is the language model's last hidden state at the last token that is no filler, of unit length. The tower runs
once a picture for all sizes, the language model once a size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.texts.cut_texts import say_once
from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.pictures import picture
from anysize.backbones.vision.prompts import Prompt
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.cost import Cost
from anysize.core.progress import bar
from anysize.core.sides import Side, TwoSided
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.tokens.retrieval.sequences import last_real, numbered, parts_of, pictures_of, sequence, shortened
from anysize.tokens.vlm.costs import language_flops, tower_flops
from anysize.tokens.vlm.holding import HoldsVLM


class Cut(NamedTuple):
    """What a size does not read of some items."""

    items: int
    """Items that are longer than the model reads."""
    pictures: int
    """Their pictures that are left out."""


class Interleaved(TwoSided, HoldsVLM):
    """
    Embeds texts, pictures, and lists of both. Vectors of any two sizes compare: an index at one, a query at another.

    `max_length` is how many tokens it reads, at most as many as the language model has positions; what does not fit is
    left out from the end, and told.
    """

    kind = "interleaved"
    reads = ("parts", "text", "image")
    gives = "vectors"
    evaluators = ("retrieval", "neighbours")
    mixes_sizes = True
    times_encoding = True
    """Whether a size decides how long an item takes to encode."""
    rivals: ClassVar[Mapping[str, str]] = {
        "full-cut": "anysize.tokens.vlm.rivals:full_cut",
        "single": "anysize.core.verbs.rivals:single",
        "random": "anysize.tokens.vlm.rivals:random",
    }

    def __init__(
        self, nesting: Nesting, vlm: VisionLanguage, budget: Mapping[str, Any], max_length: int | None = None
    ) -> None:
        super().__init__(nesting, vlm, budget)
        limits = [one for one in (max_length, getattr(vlm.text, "max_position_embeddings", None)) if one is not None]
        if not limits or min(limits) < 2:
            raise AnysizeError(f"max-length is a number of tokens, at least 2; got {max_length}")
        self.max_length: int = min(limits)

    def again(self, nesting: Nesting) -> Self:
        """A model of the same weights that offers other sizes, trained for or not."""
        return type(self)(nesting, self.vlm, self.spec, self.max_length)

    # Running

    @property
    def encoder(self) -> VisionLanguage:
        """What reads texts and pictures."""
        return self.vlm

    @property
    def origin(self) -> tuple[object, ...]:
        """Models of one origin have the same `features`."""
        return (id(self.net), *self.nesting)

    def prompts(self, rows: Iterable[Sequence[Mapping[str, Any]]]) -> list[Prompt]:
        """Lists of parts as the language model reads them, before any budget."""
        return [sequence(self.vlm, parts) for parts in rows]

    def pixels(self, rows: Iterable[Sequence[Mapping[str, Any]]]) -> torch.Tensor:
        """The pictures of lists of parts, one after the other, (pictures, 3, rows, columns); (0,) without any."""
        shown = [picture(one) for parts in rows for one in pictures_of(parts)]
        return self.vlm.pixels(shown) if shown else torch.empty(0, device=self.vlm.device)

    def states(
        self, prompts: Sequence[Prompt], pixels: torch.Tensor, asked: Iterable[Size]
    ) -> dict[Size, torch.Tensor]:
        """The last token's hidden state, (n, width), at each size, from one pass of the tower; `pixels` as above."""
        sizes = list(dict.fromkeys(asked))
        kept = self.keep(self.vlm.encode(pixels), sizes) if len(pixels) else {}
        starts = [0, *accumulate(prompt.pictures for prompt in prompts)]
        found = {}
        for size in sizes:
            cut = [shortened(prompt, size.tokens, self.max_length) for prompt in prompts]
            batch = self.vlm.batch(cut, [[size.tokens] * prompt.pictures for prompt in cut])
            places = [first + n for first, prompt in zip(starts, cut, strict=False) for n in range(prompt.pictures)]
            shown = [kept[size][place] for place in places]
            found[size] = last_real(self.vlm.hidden(batch, shown), batch.mask)
        return found

    def _outputs(self, example: Sequence[Any], asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Unit vectors (n, width) at each size."""
        if not len(example):
            raise DataError("there is nothing to embed; give at least one item")
        rows = [parts_of(row) for row in example]
        states = self.states(self.prompts(rows), self.pixels(rows), asked)
        return {size: functional.normalize(state.float(), dim=-1) for size, state in states.items()}

    def cut(self, items: Sequence[Any], size: Size | None = None) -> Cut:
        """How many items a size (this view's) does not read whole, counted before anything is encoded."""
        tokens = (size or self.size).tokens
        return self._cut(self.prompts(map(parts_of, items)), tokens)

    def _cut(self, prompts: Sequence[Prompt], tokens: int) -> Cut:
        short = [shortened(prompt, tokens, self.max_length) for prompt in prompts]
        changed = [(one, whole) for one, whole in zip(short, prompts, strict=True) if one != whole]
        return Cut(len(changed), sum(whole.pictures - one.pictures for one, whole in changed))

    @torch.no_grad()
    def _embed(
        self, inputs: Any, sizes: Sequence[Size], *, batch_size: int = 32, progress: bool = False, bf16: bool = False
    ) -> np.ndarray:
        """States (n, sizes, width) of items; what is cut is told first, on standard error."""
        rows = [numbered(row, f"item {place}") for place, row in enumerate(inputs)]
        prompts = self.prompts(rows)
        self.tell_cut(prompts, sizes)
        found = np.zeros((len(rows), len(sizes), int(self.vlm.text.hidden_size)), np.float32)
        # Items of like length side by side, so that little of a batch is filler.
        lengths = [prompt.length([sizes[-1].tokens] * prompt.pictures) for prompt in prompts]
        order = sorted(range(len(rows)), key=lengths.__getitem__)
        with bar(len(rows), "encode", " items", show=progress, leave=False) as done:
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                with torch.autocast(self.vlm.device.type, torch.bfloat16, enabled=bf16):
                    states = self.states([prompts[row] for row in part], self.pixels(rows[row] for row in part), sizes)
                for place, size in enumerate(sizes):
                    found[part, place] = states[size].float().cpu().numpy()
                done.update(len(part))
        return found

    def tell_cut(self, prompts: Sequence[Prompt], sizes: Iterable[Size]) -> dict[Size, Cut]:
        """What these sizes do not read of prompts, said on standard error before anything is encoded."""
        found = {size: self._cut(prompts, size.tokens) for size in sizes}
        for size, cut in found.items():
            if cut.items:
                say_once(
                    f"at {size}, {cut.items} of {len(prompts)} items are longer than the {self.max_length} tokens that "
                    f"the model reads; {cut.pictures} of {sum(one.pictures for one in prompts)} pictures were left out"
                )
        return found

    def features(self, inputs: Any, *, side: Side | None = None, **options: Any) -> np.ndarray:
        """What every size is cut from, (n, sizes of the nesting, width). Options: batch_size, progress, bf16."""
        return self._embed(inputs, tuple(self.nesting), **options)

    def project(self, features: np.ndarray, dims: int | None = None, *, normalize: bool = True) -> np.ndarray:
        """`features` to embeddings (n, dims) at this view's size, of unit length unless told otherwise."""
        rows = torch.from_numpy(np.array(features[:, list(self.nesting).index(self.size), :dims]))
        return (functional.normalize(rows, dim=-1) if normalize else rows).numpy()

    def encode(self, inputs: Any, *, side: Side | None = None, **options: Any) -> np.ndarray:
        """Unit embeddings (n, width), float32, at this view's size alone; the two sides are read alike."""
        rows = torch.from_numpy(self._embed(inputs, (self.size,), **options)[:, 0])
        return functional.normalize(rows, dim=-1).numpy()

    # The contract

    def cost(self) -> Cost:
        """Bytes of one stored embedding; operations of reading one picture beside 30 tokens of text, tower included."""
        head, width = self.net.lm_head.weight, int(self.vlm.text.hidden_size)
        tied = bool(getattr(self.net.config, "tie_word_embeddings", False))
        count = sum(weight.numel() for weight in self.net.parameters()) - (0 if tied else head.numel())
        flops = tower_flops(self.vlm) + language_flops(self.vlm, self.size.tokens) - 2 * head.numel()
        return Cost(bytes=4 * width, parameters=count, flops=flops)

    def config(self) -> dict[str, Any]:
        """That of the vision-language model, and how many tokens are read."""
        return {**super().config(), "max_length": self.max_length}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration, without what prepares pictures and texts."""
        model = super().build(config, nesting)
        model.max_length = config["max_length"]
        return model
