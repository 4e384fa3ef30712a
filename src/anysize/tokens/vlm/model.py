"""A vision-language model at any number of tokens a picture: pooled grids (M3) or a prefix of queries (MQT)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from anysize.backbones.huggingface import config_of, configuration
from anysize.backbones.vision.llava import PROCESSOR, VisionLanguage, read_processor
from anysize.backbones.vision.pictures import picture
from anysize.core.errors import AnysizeError, SizeError
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.quiet import quiet
from anysize.core.sides import Side
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.tokens.budget.grid import GridPool
from anysize.tokens.budget.operator import Prefix, TokenBudget, check
from anysize.tokens.budget.queries import MatryoshkaQueryTransformer
from anysize.tokens.chooser import Chooser
from anysize.tokens.vlm.asking import Asked, Read, asked, known, room
from anysize.tokens.vlm.costs import cache_bytes, language_flops, tower_flops


class NestedVLM(NestedModel):
    """
    Answers questions about pictures at every number of tokens that `nesting` names on the axis ``tokens``.

    `budget` says how tokens become fewer: ``{"kind": "pool", "mode": "avg"}``, or ``{"kind": "queries", "queries": 64,
    "heads": 8, "key_source": "content+position"}``, whose transformer is the model's projector.

    Raises `SizeError`, naming those that there are, for a number that the picture's grid cannot be pooled to.
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
        self.chooser: Chooser | None = None
        """What chooses a budget for each question, once that is learnt."""

    # Running

    def encode(self, pictures: Sequence[Any]) -> torch.Tensor:
        """All tokens of each picture (n, all, width), of which every size keeps some: one pass of the tower."""
        return self.vlm.encode(self.vlm.pixels([picture(one) for one in pictures]))

    def keep(self, tokens: torch.Tensor, sizes: Iterable[Size]) -> dict[Size, torch.Tensor]:
        """What `encode` gave, at each size, (n, size.tokens, width)."""
        asked = list(sizes)
        kept = self.budget.keep_each(tokens, {size.tokens for size in asked}, self.vlm.shape)
        return {size: kept[size.tokens] for size in asked}

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
        read = self.read(items)
        chosen = self.chooser.pick(self.margins(read)) if self.chooses and self.chooser is not None else None
        return self.answers(read, tokens=chosen, max_new_tokens=max_new_tokens)

    @torch.no_grad()
    def margins(self, read: Read, *, batch_size: int = 32) -> np.ndarray:
        """How far the log-probabilities of the two best first tokens are apart at the smallest size, (questions,)."""
        count, found = int(self.nesting[0].tokens), []
        for start in range(0, len(read.prompts), batch_size):
            prompts = read.prompts[start : start + batch_size]
            kept = [self._kept(read.tokens[place], count) for place in read.which[start : start + batch_size]]
            logits = self.vlm.logits(self.vlm.batch(prompts, [[count]] * len(prompts)), kept, last=1)[:, -1]
            best = logits.float().log_softmax(-1).topk(2).values
            found.append((best[:, 0] - best[:, 1]).cpu())
        return torch.cat(found).numpy()

    def choosing(self) -> Self:
        """A view that chooses tokens for each question, from how sure it is at the smallest size."""
        if self.chooser is None:
            raise AnysizeError("this model has not learnt to choose a size; name one, such as " + str(self.size))
        view = self.at()
        view.chooses, view.chooser = True, self.chooser.up_to(int(self.nesting.full.tokens))
        return view

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
        if self.chooses:
            return "tokens chosen for each question"
        return f"{self.size.tokens} tokens a picture, {self.cost().bytes:,} bytes of keys and values"

    def cost(self) -> Cost:
        """Bytes of the keys and values of one picture; operations until the first token of an answer."""
        tokens = self.size.tokens
        count = sum(weight.numel() for weight in self.net.parameters())
        flops = tower_flops(self.vlm) + language_flops(self.vlm, tokens)
        return Cost(bytes=cache_bytes(self.vlm, tokens), parameters=count, flops=flops)

    def config(self) -> dict[str, Any]:
        """The model's own configuration, and how its tokens become fewer."""
        known = {} if self.chooser is None else {"chooser": self.chooser.to_json()}
        return {"transformer": config_of(self.net), "budget": dict(self.spec), **known}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration, without what prepares pictures and texts."""
        from transformers import AutoModelForImageTextToText

        full = configuration(config["transformer"])
        with quiet():
            model = AutoModelForImageTextToText.from_config(full).eval()
        made = cls(nesting, VisionLanguage(model), config["budget"])
        made.chooser = Chooser.from_json(config["chooser"]) if "chooser" in config else None
        return made

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
            self.vlm.attach(read_processor(directory))

    def take_parts(self, whole: Self) -> None:
        """The same, and the weights that modules share."""
        self.net.tie_weights()
        self.vlm.attach(whole.vlm.processor)


def _queries(vlm: VisionLanguage, spec: Mapping[str, Any]) -> MatryoshkaQueryTransformer:
    layers = vlm.model.config.vision_feature_layer
    width = int(vlm.vision.hidden_size) * (1 if isinstance(layers, int) else len(layers))
    made = MatryoshkaQueryTransformer(
        spec["queries"], width, int(vlm.text.hidden_size), vlm.shape, heads=spec["heads"], key_source=spec["key_source"]
    )
    return made.to(vlm.device, vlm.dtype).train(vlm.model.training)
