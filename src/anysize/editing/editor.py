"""
The editor of one language model: finds shifts for requests, writes them, takes them back.

    editor = Editor("HuggingFaceTB/SmolLM2-135M-Instruct", MuKE(window=20))
    with editor.edited([EditRequest("Where was Ada Berg born?", "Ada Berg was born in ...")]) as lm:
        ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from anysize.backbones.causal import CausalLM
from anysize.core.arguments import instance, many, takes
from anysize.core.errors import AnysizeError
from anysize.editing.deltas.changes import Change
from anysize.editing.deltas.delta import Delta, fingerprint_of
from anysize.editing.methods import MuKE
from anysize.editing.plan import Plan
from anysize.editing.requests.prompting import Encoded, Prompting
from anysize.editing.requests.request import EditRequest, check_together
from anysize.editing.shifts.optimise import Goal, fit_shifts
from anysize.editing.shifts.suffix import Suffix, layers_of
from anysize.editing.shifts.windows import Splitter, Target, windows
from anysize.editing.writing.closed import Solving, write
from anysize.editing.writing.preserve import Preserved
from anysize.editing.writing.projection import check_editable, projection
from anysize.editing.writing.tuned import Tuning, fine_tune, unke
from anysize.editing.writing.usual import PASSAGES, QUESTIONS


@dataclass
class Editor:
    """
    Edits one causal language model, a `CausalLM`, one of transformers with its tokenizer, or a name.

    `splitter` and `texts` may be given in place of the method's own. Raises `AnysizeError` for a quantised model, a
    layer that is not there, or a block without a weight to write to.
    """

    model: Any
    method: MuKE = field(default_factory=MuKE)
    tokenizer: Any = None
    splitter: Splitter | None = None
    texts: Sequence[str] = PASSAGES
    prompts: Sequence[str] = QUESTIONS

    def __post_init__(self) -> None:
        self.base = self.model if isinstance(self.model, CausalLM) else CausalLM.from_pretrained(self.model)
        self.base.tokenizer = self.tokenizer or self.base.tokenizer
        self.lm = self.base.lm
        if self.base.tokenizer is None:
            raise AnysizeError("editing needs the model's tokenizer; give it, or name the model by its folder")
        check_editable(self.lm)
        self.layers = layers_of(self.lm, self.method.layers or ("40%",))
        for layer in self.layers:
            if self.method.writer in ("memit", "alphaedit"):
                projection(self.lm, layer, self.method.projection)
        places = getattr(self.lm.config, "max_position_embeddings", None)
        chat = None if self.method.chat == "auto" else False
        self.prompting = Prompting(self.base.tokenizer, places, chat)
        self.fingerprint = fingerprint_of(self.lm)
        self.preserved = Preserved(self.lm, self.prompting, self.texts, self.prompts, self.fingerprint)

    @property
    def goal(self) -> Goal:
        """What shifts are fitted to."""
        asked = self.method
        return Goal(
            asked.coefficients, asked.affinity_order, asked.v_steps, asked.v_lr, asked.v_weight_decay, asked.clamp,
            asked.v_stop,
        )  # fmt: skip

    def plan(self, request: EditRequest, lm: Any = None, told: Callable[[int], None] = lambda window: None) -> Plan:
        """
        The shifts of one request, in the model, or in one that holds earlier edits.

        Raises `DataError` for a request that does not fit, `NotFiniteError` where the loss is no finite number.
        """
        begin, encoded = time.perf_counter(), self.prompting.encode(request)
        suffix = Suffix(self.lm if lm is None else lm, self.layers[-1])
        states, logits = suffix.states(encoded.ids[:-1])
        labels = torch.tensor(encoded.target, device=logits.device)
        surprise = torch.nn.functional.cross_entropy(logits[encoded.start - 1 :], labels, reduction="none")
        del logits  # of the whole vocabulary at every token: too large to be held while shifts are found
        target = Target([self.prompting.tokenizer.decode([one]) for one in encoded.target], surprise.tolist())
        split = self.splitter or self.method.splitter
        bounds = windows(target, None if split == "whole" else self.method.window, split)
        found = None
        if self.method.writer != "ft":
            found = fit_shifts(suffix, encoded, bounds, self.goal, states=states, told=told)
        return Plan(request, encoded, bounds, found, time.perf_counter() - begin)

    def write(self, plans: Sequence[Plan], lm: Any = None, stay: Sequence[Encoded] = ()) -> dict[str, Change]:
        """The changes that write some edits together; keys of earlier ones, which the model given holds, `stay`."""
        into, asked = self.lm if lm is None else lm, self.method
        if asked.writer == "ft":
            tuning = Tuning(asked.lr or 1e-3, asked.write_steps, 0.0, asked.ft_stop)
            return dict(fine_tune(into, [one.encoded for one in plans], self.layers, tuning))
        edits = [(one.encoded, one.found) for one in plans if one.found is not None]
        if asked.writer == "unke":
            return dict(unke(into, edits, self.layers, self.preserved, Tuning(asked.lr or 2e-4, asked.write_steps)))
        form: Literal["memit", "alphaedit"] = "alphaedit" if asked.writer == "alphaedit" else "memit"
        solving = Solving(form, asked.preserve_weight, asked.null)
        return dict(write(into, edits, self.layers, self.preserved, solving, named=asked.projection, stay=stay))

    @takes(requests=many(instance(EditRequest, words="an edit request"), "a list of edit requests"))
    def delta(self, requests: Sequence[EditRequest]) -> Delta:
        """All of these edits, as a delta of the model, which stays as it is."""
        if not requests:
            raise AnysizeError("there is no edit to make; give at least one request")
        check_together(requests)
        return Delta(self.write([self.plan(one) for one in requests]), tuple(requests), self.fingerprint)

    @contextmanager
    def edited(self, edits: Sequence[EditRequest] | Delta, windows: int | None = None) -> Iterator[Any]:
        """While it lasts, the model holds the edits (of each the first so many windows); then it is as before."""
        delta = edits if isinstance(edits, Delta) else self.delta(edits)
        applied = delta.apply(self.lm, windows)
        try:
            yield self.lm
        finally:
            applied.revert()
