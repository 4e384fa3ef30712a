"""A language model with edits beside its weights: it runs with as many windows of them as its size says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, ClassVar, Self

import torch

from anysize.backbones.causal import CausalLM
from anysize.core.errors import SizeError
from anysize.core.frontier.records import NESTED, ORIGINAL
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.sides import Side
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.editing.deltas.changes import Change, LowRank, Whole, change_of
from anysize.editing.deltas.delta import Delta
from anysize.editing.requests.prompting import Encoded, Prompting
from anysize.editing.requests.request import EditRequest

AXIS = "windows"
LISTED = 20
"""Edits that a card of the model lists."""


class Asked(CausalLM):
    """A language model whose prompts are made as those of the edits were."""

    prompting: Prompting

    def prompt(self, text: str) -> list[int]:
        """Ids of a prompt, up to where the answer begins."""
        return self.prompting.prompt(text)


class EditedLM(NestedModel):
    """
    Gives the logits of every next token, with the first so many windows of each edit written: ``at(windows=3)``.

    `requests` are the edits, `records` what was found out when they were made. Prompts that it goes on with are made
    into ids as theirs were.
    """

    kind = "edited-lm"
    reads = ("text",)
    gives = "next tokens"
    evaluators = ("edits", "next-token")
    rivals: ClassVar[Mapping[str, str]] = {
        "window": "anysize.editing.rivals:window",
        "one-for-all": "anysize.editing.rivals:one_for_all",
        "ft": "anysize.editing.rivals:fine_tuned",
        "original": "anysize.editing.rivals:original",
    }
    panels = ("anysize.editing.measuring.panels:locality", "anysize.editing.measuring.panels:answers")
    exports: ClassVar[Mapping[str, str]] = {
        "transformers": "anysize.editing.model.export:checkpoint",
        "delta": "anysize.editing.model.export:delta",
    }
    export_options: ClassVar[Mapping[str, str]] = {
        "transformers": "anysize.editing.model.export:Without",
        "delta": "anysize.editing.model.export:Without",
    }
    converts: ClassVar[Mapping[str, str]] = {"transformers": "anysize.editing.model.model:EditedLM.transformer"}
    reader = "anysize.editing.requests.readers:read"

    def __init__(
        self,
        nesting: Nesting,
        inner: CausalLM,
        changes: Mapping[str, Change],
        requests: Sequence[EditRequest],
        told: Mapping[str, Any],
    ) -> None:
        super().__init__(nesting)
        if nesting.axes != (AXIS,):
            raise SizeError(f"an edited model is nested in windows; got {', '.join(nesting.axes)}")
        self.inner, self.requests, self.told = inner, tuple(requests), dict(told)
        self.forms = {name: sorted(one.tensors()) for name, one in changes.items()}
        self.stored = torch.nn.ParameterList(
            torch.nn.Parameter(value, requires_grad=False)
            for name, parts in self.forms.items()
            for _, value in sorted(changes[name].tensors().items())
        )
        self.edited = True

    @classmethod
    def of(cls, inner: CausalLM, delta: Delta, told: Mapping[str, Any], whole: int | None = None) -> Self:
        """
        A model with the edits of a delta. `told`: ``chat``, and ``records`` of how each edit was made.

        With `whole`, the changes are of a single step, which stands for so many windows.
        """
        values = tuple(range(1, delta.windows + 1)) if whole is None else (whole,)
        more = {"base": delta.base, "steps": whole is None}
        return cls(Nesting(windows=values), inner, delta.changes, delta.requests, {**told, **more}).eval()

    # The edits

    def changes(self) -> dict[str, Change]:
        """What is added to each weight."""
        held = iter(self.stored)
        found: dict[str, Change] = {}
        for name, parts in self.forms.items():
            found[name] = change_of({part: next(held).detach() for part in parts})
        return found

    def delta(self) -> Delta:
        """The edits by themselves, with the windows of this view's size."""
        most = int(self.size[AXIS])
        kept = {
            name: Whole(one.steps[:most]) if isinstance(one, Whole) else LowRank(one.left[:most], one.right[:most])
            for name, one in self.changes().items()
        }
        return Delta(kept, self.requests, str(self.told["base"]))

    def before(self) -> Self:
        """A view of the unedited model."""
        view = self.at(self.size)
        view.edited = False
        return view

    def without(self, ids: Sequence[str]) -> Self:
        """A model without some of the edits. Raises `AnysizeError` as `Delta.without` does."""
        kept = self.delta().without(ids)
        records = [one for one in self.told["records"] if one["id"] not in set(ids)]
        nesting = self.nesting.up_to(self.size)
        made = type(self)(nesting, self.inner, kept.changes, kept.requests, {**self.told, "records": records})
        made.about = copy.deepcopy(self.about)
        return made.eval()

    @property
    def arm(self) -> str:
        """What made it: nested, original, or the name of a rival."""
        return str(self.told.get("arm", NESTED)) if self.edited else ORIGINAL

    @property
    def prompting(self) -> Prompting:
        """How prompts and targets become ids."""
        places = getattr(self.inner.lm.config, "max_position_embeddings", None)
        return Prompting(self.tokenizer, places, None if self.told["chat"] else False)

    @property
    def tokenizer(self) -> Any:
        """Of the model within."""
        return self.inner.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a window of text."""
        return self.inner.max_length

    # Running

    def language(self) -> Asked:
        """The model as it is at this size: it shares all weights but the changed."""
        lm = self.inner.lm
        if self.edited:
            most = int(self.size[AXIS]) if self.told["steps"] else None
            lm = Delta(self.changes(), self.requests, "").view(lm, most)
        made = Asked(self.inner.nesting, lm, self.inner.max_length)
        made.tokenizer, made.prompting = self.tokenizer, self.prompting
        return made.eval()

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Logits (rows, tokens, vocabulary) for texts as they stand, or for token ids (rows, tokens)."""
        found = {}
        for size in asked:
            view = self.at(size)
            view.edited = self.edited
            made = view.language()
            found[size] = made.outputs(example)[made.size]
        return found

    def generate(self, items: Sequence[str], **options: Any) -> list[str]:
        """What the edited model answers to each prompt; options as for `CausalLM.generate`."""
        return self.language().generate(items, **options)

    def run(
        self,
        items: Sequence[str],
        *,
        side: Side | None = None,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        batch_size: int = 8,
        told: Callable[[str], None] | None = None,
        before: bool = False,
    ) -> list[Any]:
        """What it answers to each prompt; with `before`, ``{"edited": ..., "before": ...}`` of both models."""
        options: dict[str, Any] = {
            "max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, "stop": stop,
            "batch_size": batch_size,
        }  # fmt: skip
        said = self.generate(items, **options, told=told)
        if not before:
            return said
        plain = self.before().generate(items, **options)
        return [{"edited": one, "before": other} for one, other in zip(said, plain, strict=True)]

    @torch.no_grad()
    def losses(self, pairs: Sequence[Encoded]) -> list[torch.Tensor]:
        """The loss in nats of each token of each target, after its prompt."""
        lm, found = self.language().lm, []
        for one in pairs:
            ids = torch.tensor([list(one.ids)], device=self.inner.device)
            logits = lm(input_ids=ids[:, :-1], use_cache=False).logits[0, one.start - 1 :].float()
            found.append(torch.nn.functional.cross_entropy(logits, ids[0, one.start :], reduction="none").cpu())
        return found

    def transformer(self) -> Any:
        """The Hugging Face model of this size with its tokenizer attached; it shares nothing."""
        return self.language().transformer()

    # The contract

    def cost(self) -> Cost:
        """Bytes of the changes at this size; the weights of the model; FLOPs of one token."""
        plain = self.inner.cost()
        most = int(self.size[AXIS])
        count = sum(one[:most].numel() for one in self.stored) if self.edited else 0
        return Cost(bytes=4 * count, parameters=plain.parameters + count, flops=plain.flops)

    def config(self) -> dict[str, Any]:
        """The model's own configuration, and the edits."""
        requests = [one.to_json() for one in self.requests]
        return {**self.inner.config(), "changes": self.forms, "requests": requests, **self.told}

    @classmethod
    def build(cls, config: Mapping[str, Any], nesting: Nesting) -> Self:
        """An untrained model of that configuration, with room for the changes of these sizes."""
        depth = config["transformer"].get("num_hidden_layers") or config["transformer"].get("n_layer")
        inner = CausalLM.build(config, Nesting(layers=(int(depth),)))
        requests = [EditRequest.from_json(one) for one in config["requests"]]
        changes: dict[str, Change] = {}
        for name, parts in config["changes"].items():
            shape, steps = inner.lm.get_parameter(name).shape, int(nesting.full[AXIS]) if config["steps"] else 1
            if "steps" in parts:
                changes[name] = Whole(torch.zeros(steps, *shape))
            else:
                changes[name] = LowRank(*(torch.zeros(steps, len(requests), count) for count in shape))
        told = {name: config[name] for name in ("chat", "base", "records", "steps", "arm") if name in config}
        return cls(nesting, inner, changes, requests, told)

    @classmethod
    def facts(cls, config: dict[str, Any]) -> dict[str, Any]:
        """How many edits, the weights that they change, and the first edits by id."""
        requests = config["requests"]
        listed = {f"edit {one['id']}": shorten(one["prompt"], 70, placeholder=" ...") for one in requests[:LISTED]}
        more = {"further edits": len(requests) - LISTED} if len(requests) > LISTED else {}
        return {"edits": len(requests), "changes": ", ".join(config["changes"]), **listed, **more}

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """The changes are cut window by window."""
        return {f"stored.{n}": (AXIS, 0) for n in range(len(self.stored))} if self.told["steps"] else {}

    def saved_state(self) -> dict[str, torch.Tensor]:
        """The model's weights and the changes, what modules share once."""
        inner = {f"inner.{name}" for name in self.inner.saved_state()}
        return {name: one for name, one in self.state_dict().items() if name in inner or name.startswith("stored.")}

    def save_parts(self, directory: Path) -> None:
        """The tokenizer, where there is one."""
        self.inner.save_parts(directory)

    def load_parts(self, directory: Path) -> None:
        """The tokenizer, and the weights that modules share."""
        self.inner.load_parts(directory)

    def take_parts(self, whole: Self) -> None:
        """The tokenizer, and the weights that modules share."""
        self.inner.take_parts(whole.inner)
