"""What every model over a vision-language model shares: budgets of tokens a picture, its weights, its processor."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from anysize.backbones.huggingface import config_of, configuration
from anysize.backbones.vision.llava import PROCESSOR, VisionLanguage
from anysize.backbones.vision.opening import as_vlm
from anysize.backbones.vision.prompts import Batch
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.model.contract import NestedModel
from anysize.core.quiet import quiet
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.tokens.adapters.adapted import adapted, any_scale, owned
from anysize.tokens.budget.grid import GridPool
from anysize.tokens.budget.operator import Prefix, TokenBudget, check
from anysize.tokens.budget.queries import MatryoshkaQueryTransformer

LANGUAGE = "net.model.language_model"
"""Where the language model lies among our weights."""


class Grain(NamedTuple):
    """A number of tokens a picture, as adapters are told it."""

    tokens: int

    @property
    def name(self) -> str:
        """``tokens16``."""
        return f"tokens{self.tokens}"

    @property
    def least(self) -> Size:
        """The smallest size that has it."""
        return Size(tokens=self.tokens)


class HoldsVLM(NestedModel):
    """
    A vision-language model at every number of tokens a picture that `nesting` names on the axis ``tokens``.

    `budget` says how tokens become fewer: ``{"kind": "pool", "mode": "avg"}``, or ``{"kind": "queries", "queries": 64,
    "heads": 8, "key_source": "content+position"}``, whose transformer is the model's projector. For a tower that reads
    pictures of any size a pool may name the ``grid`` that they are scaled to, ``[rows, columns]`` of tokens; else it is
    the square of the largest size. With an ``adapter`` in it (of kind lora or mome) the language model stays as it is,
    and runs with what adapts it to a size.

    Raises `SizeError`, naming those that there are, for a number that the picture's grid cannot be pooled to.
    """

    net: Any

    def __init__(self, nesting: Nesting, vlm: VisionLanguage, budget: Mapping[str, Any]) -> None:
        super().__init__(nesting)
        if nesting.axes != ("tokens",):
            raise SizeError(f"a vision-language model is nested in tokens alone; got {', '.join(nesting.axes)}")
        if nesting.open and budget["kind"] != "queries":
            raise SizeError("only queries run at any number of tokens; a grid is pooled to those that are listed")
        self.spec = dict(budget)
        self.budget: TokenBudget
        if self.spec["kind"] == "pool":
            self.budget = GridPool(self.spec["mode"])
            if vlm.any_grid or "grid" in self.spec:  # that of the largest size, also for what is cut out of this model
                vlm.set_grid(_grid(self.spec.setdefault("grid", int(nesting.full.tokens))))
        elif self.spec["kind"] == "queries":
            self.budget = Prefix()
            if not isinstance(vlm.projector, MatryoshkaQueryTransformer):
                vlm.set_projector(_queries(vlm, self.spec), (self.spec["queries"],))
        else:
            raise AnysizeError(f"a budget is a pool or queries; got {self.spec['kind']!r}")
        for tokens in nesting.values("tokens"):
            check(self.budget, tokens, vlm.shape)
        self.vlm = vlm
        self.net = vlm.model
        scales = [Grain(int(tokens)) for tokens in nesting.values("tokens")]
        self.adapters = adapted(vlm.language, scales, self.adapter)

    @property
    def adapter(self) -> Mapping[str, Any]:
        """What adapts the language model."""
        found: Mapping[str, Any] = self.spec.get("adapter", {"kind": "none"})
        return found

    def again(self, nesting: Nesting) -> Self:
        """
        A model of the same weights that offers other sizes, trained for or not.

        Raises `SizeError` if adapters belong to single sizes, so that others have none.
        """
        if self.adapters is None:
            return type(self)(nesting, self.vlm, self.spec)
        if not any_scale(self.adapter) and not set(nesting) <= set(self.nesting):
            there = ", ".join(map(str, self.nesting))
            raise SizeError(f"adapters of this model belong to single sizes, so it runs at {there} alone")
        for tokens in nesting.values("tokens"):
            check(self.budget, tokens, self.vlm.shape)
        made = copy.copy(self)
        made.nesting, made.size = nesting, nesting.full
        return made

    def adapting(self, tokens: int, batch: Batch | None = None) -> contextlib.AbstractContextManager[None]:
        """Within, the language model runs with what adapts it to so many tokens a picture."""
        if self.adapters is None:
            return contextlib.nullcontext()
        there = None if batch is None else batch.mask
        held: contextlib.AbstractContextManager[None] = self.adapters.at(Grain(tokens), there)
        return held

    def keep(self, tokens: torch.Tensor, sizes: Iterable[Size]) -> dict[Size, torch.Tensor]:
        """What `encode` gave, at each size, (n, size.tokens, width)."""
        asked = list(sizes)
        kept = self.budget.keep_each(tokens, {size.tokens for size in asked}, self.vlm.shape)
        return {size: kept[size.tokens] for size in asked}

    # The contract

    def config(self) -> dict[str, Any]:
        """The model's own configuration, and how its tokens become fewer."""
        return {"transformer": config_of(self.net), "budget": dict(self.spec)}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration, without what prepares pictures and texts."""
        from transformers import AutoModelForImageTextToText

        full = configuration(config["transformer"])
        with quiet():
            model = AutoModelForImageTextToText.from_config(full).eval()
        return cls(nesting, as_vlm(model), config["budget"])

    def owned_tensors(self) -> dict[str, Size]:
        """Adapters and routers of one size are needed by it and by larger ones."""
        return owned(self.adapters, LANGUAGE)

    def saved_state(self) -> dict[str, torch.Tensor]:
        """All weights, those that modules share (a tied head) once."""
        tied = {f"net.{name}" for name in self._tied()}
        return {name: value for name, value in self.state_dict().items() if name not in tied}

    def _tied(self) -> set[str]:
        tied = getattr(self.net.config, "tie_word_embeddings", False)
        return set(self.net._tied_weights_keys or ()) if tied else set()

    def save_parts(self, directory: Path) -> None:
        """What prepares texts and pictures."""
        if self.vlm.processor is not None:
            self.vlm.processor.save_pretrained(str(directory / PROCESSOR))

    def load_parts(self, directory: Path) -> None:
        """The same, and the weights that modules share."""
        self.net.tie_weights()
        if (directory / PROCESSOR).is_dir():
            self.vlm.read_processor(directory)

    def take_parts(self, whole: Self) -> None:
        """The same, and the weights that modules share."""
        self.net.tie_weights()
        self.vlm.attach(whole.vlm.processor)


def _grid(told: int | Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a grid that is told as these, or as how many tokens a square has."""
    if not isinstance(told, int):
        rows, columns = told
        return rows, columns
    side = math.isqrt(told)
    if side * side != told:
        raise SizeError(f"pictures are put on a square grid, and {told} tokens are none; give its rows and columns")
    return side, side


def _queries(vlm: VisionLanguage, spec: Mapping[str, Any]) -> MatryoshkaQueryTransformer:
    made = MatryoshkaQueryTransformer(
        spec["queries"], vlm.patch_width, int(vlm.text.hidden_size), vlm.shape, heads=spec["heads"],
        key_source=spec["key_source"],
    )  # fmt: skip
    return made.to(vlm.device, vlm.dtype).train(vlm.model.training)
