"""A vision-language model at any number of tokens a picture: pooled grids (M3) or a prefix of queries (MQT)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

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
from anysize.tokens.vlm.costs import cache_bytes, language_flops, tower_flops


class Asked(NamedTuple):
    """A question about one picture."""

    picture: Any
    """A file, an array or a Pillow image."""
    question: str
    answer: str | None = None


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
    net: Any

    def __init__(self, nesting: Nesting, vlm: VisionLanguage, budget: Mapping[str, Any]) -> None:
        super().__init__(nesting)
        if nesting.axes != ("tokens",):
            raise SizeError(f"a vision-language model is nested in tokens alone; got {', '.join(nesting.axes)}")
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
        for tokens in nesting.levels("tokens"):
            check(self.budget, tokens, vlm.shape)
        self.vlm = vlm
        self.net = vlm.model

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

    @torch.no_grad()
    def answer(
        self, items: Sequence[Asked], *, tokens: Sequence[int] | None = None, max_new_tokens: int = 32
    ) -> list[str]:
        """
        Answers, the likeliest token first at every step; `tokens` gives each question a budget of its own.

        Raises `SizeError` for a budget that the model has not.
        """
        counts = [self.size.tokens] * len(items) if tokens is None else list(tokens)
        for count in set(counts):
            self.nesting.resolve(tokens=count)
        prompts = [self.vlm.prompt(one.question) for one in items]
        batch = self.vlm.batch(prompts, [[count] for count in counts], room=max_new_tokens)  # counted before it encodes
        encoded = self.encode([one.picture for one in items])
        kept = [self.budget.keep(encoded[row : row + 1], count, self.vlm.shape)[0] for row, count in enumerate(counts)]
        return self.vlm.generate(batch, kept, max_new_tokens)

    def run(self, items: Sequence[Asked], *, side: Side | None = None, max_new_tokens: int = 32) -> list[str]:
        """An answer to each question about a picture: `answer`."""
        return self.answer(items, max_new_tokens=max_new_tokens)

    # The contract

    def cost(self) -> Cost:
        """Bytes of the keys and values of one picture; operations until the first token of an answer."""
        tokens = self.size.tokens
        count = sum(weight.numel() for weight in self.net.parameters())
        flops = tower_flops(self.vlm) + language_flops(self.vlm, tokens)
        return Cost(bytes=cache_bytes(self.vlm, tokens), parameters=count, flops=flops)

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
        return cls(nesting, VisionLanguage(model), config["budget"])

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
