"""
The evaluator ``edits``: what each edit achieves, level by level, and what the rest of the model pays.

Three levels are told apart: `injected_nll`, the loss of the target while shifts are merely added to states;
`nll`, after the write; and what the model says by itself. A low loss does not mean that it recites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from anysize.core.errors import AnysizeError
from anysize.core.files import check_file, write_json
from anysize.core.frontier.records import NESTED, ORIGINAL
from anysize.core.model.cost import Cost
from anysize.core.sizes.size import Size
from anysize.core.verbs.evaluator import Evaluator, Scores, Task
from anysize.editing.measuring.published import anyedit_rows, facts_recall
from anysize.editing.measuring.scores import cosines, text_scores
from anysize.editing.measuring.unrelated import PROMPTS, TEXTS
from anysize.editing.requests.prompting import Encoded, Prompting
from anysize.editing.requests.readers import NEEDED, requests_of
from anysize.editing.requests.request import EditRequest

if TYPE_CHECKING:
    from anysize.core.data.data import Data

RECITED = 0.9
"""The ROUGE-L F1 from which on an answer counts as recited."""
ANSWER = 16
"""Tokens of the unedited model's answer to an unrelated prompt, on which locality is measured."""


@runtime_checkable
class Edits(Protocol):
    """A language model that holds edits, as many windows of them as its size says."""

    size: Size
    told: dict[str, Any]

    @property
    def arm(self) -> str:
        """What made it: nested, original, or a rival's name."""
        ...

    @property
    def prompting(self) -> Prompting:
        """How prompts and targets become ids."""
        ...

    def before(self) -> Any:
        """A view of the unedited model."""

    def losses(self, pairs: Sequence[Encoded]) -> list[torch.Tensor]:
        """The loss of each token of each target."""

    def language(self) -> Any:
        """The model at this size."""

    def generate(self, items: Sequence[str], **options: Any) -> list[str]:
        """What it answers to each prompt."""

    def cost(self) -> Cost:
        """What this size costs."""


@dataclass
class Seen:
    """What is measured on, and what was said: kept for the page."""

    requests: list[EditRequest]
    others: list[str]
    texts: list[str]
    said: list[dict[str, Any]] = field(default_factory=list)
    """What each arm said at each size to the edits that the page shows; it goes into the frontier."""
    plain: list[torch.Tensor] | None = None
    """The unedited model's losses of the targets."""
    answers: list[Encoded] = field(default_factory=list)
    """Unrelated prompts, with the unedited model's answers."""
    before: list[tuple[float, torch.Tensor]] = field(default_factory=list)
    """The unedited model's loss and most probable tokens, of each of those answers and then of each text."""


@dataclass(frozen=True)
class EditsEvaluator(Evaluator):
    """
    Of each edit: the loss and the recitation of its target and of paraphrases; of everything else, what changed.

    rouge_l_f1 is the main metric. nll_* are losses in nats per token; later_nll_change is the zero-out test, of the
    windows after the size. own_prompt_only is the share of edits that are recited (rouge_l_f1 from .9 on) for their own
    prompt and not for its paraphrase. other_* are about prompts that no edit is about, text_* about plain texts: how
    the loss rose, and how often the most probable token stayed.
    """

    face = Edits
    needs = NEEDED

    max_new_tokens: int | None = None
    """Tokens that are generated; unless given, a quarter more than the target has."""
    paraphrases: bool = True
    """Whether paraphrased prompts are answered too."""
    held_out: str | None = None
    """A file of texts on which locality is measured, in place of our own."""
    cosine: str | None = None
    """A sentence encoder: with it, the cosine of what is said and the target."""
    facts: bool = False
    """Also ask about single facts of the targets, where every edit has such questions: facts_recall."""
    anyedit: str | None = None
    """Write what the model says at its largest size to this file, in the JSON keys of AnyEdit's scripts."""
    batch_size: int = 8
    """Prompts that are answered at a time."""
    show: int = 20
    """Edits whose answers the page shows."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise AnysizeError(f"{name.replace('_', '-')} must be above zero; got {value}")
        if self.anyedit is not None:
            check_file(Path(self.anyedit))

    def accepts(self, data: Data) -> bool:
        """Whether there are edits."""
        return data.table is not None and "prompt" in data.table and "target_new" in data.table

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """All edits of the data: what was edited is what is measured."""
        from anysize.core.data.read import read

        requests = requests_of(data)
        asked = {one.prompt for one in requests}
        others = list(dict.fromkeys(one for request in requests for one in request.locality_inputs))
        others = [one for one in [*others, *PROMPTS] if one not in asked]
        texts = list(TEXTS) if self.held_out is None else read(self.held_out).texts
        said = f"{len(requests)} edits, {len(others)} unrelated prompts, {len(texts)} texts"
        seen = Seen(requests, others, texts)
        return Task(said, "rouge_l_f1", "edits", seen, facts={"said": seen.said})

    def score(self, view: Edits, task: Task) -> Scores:
        """Losses and words of each edit, and what changed elsewhere."""
        seen: Seen = task.on
        if seen.plain is None:
            self._look_before(view, seen)
        units = self.of_edits(view, seen)
        return Scores(
            {name: np.array(values, dtype=float) for name, values in units.items()}, self.elsewhere(view, seen)
        )

    def _look_before(self, view: Edits, seen: Seen) -> None:
        """What the unedited model gives, once for all views."""
        plain = view.before()
        seen.plain = plain.losses([view.prompting.encode(one) for one in seen.requests])
        said = plain.generate(seen.others, max_new_tokens=ANSWER, batch_size=self.batch_size)
        pairs = [(prompt, text) for prompt, text in zip(seen.others, said, strict=True) if text.strip()]
        seen.answers = [view.prompting.pair(prompt, text) for prompt, text in pairs]
        seen.before = self._predictions(plain, seen)

    def of_edits(self, view: Edits, seen: Seen) -> dict[str, list[float]]:
        """A value for each edit, by metric."""
        assert seen.plain is not None
        encoded = [view.prompting.encode(one) for one in seen.requests]
        losses = view.losses(encoded)
        said = self.said(view, seen.requests)
        asked = self._facts(view, seen.requests)
        units = {"nll": [float(one.mean()) for one in losses]}
        units |= text_scores(said, [one.target_new for one in seen.requests])
        if asked:
            units["facts_recall"] = facts_recall(asked, seen.requests)
        if self.cosine is not None:
            units["sentence_cosine"] = cosines(self.cosine, said, [one.target_new for one in seen.requests])
        records = {one["id"]: one for one in view.told["records"]}
        places = 0 if view.arm == ORIGINAL else int(view.size["windows"])
        bounds = [
            records.get(one.id, {}).get("bounds", [0, len(ids.target)])
            for one, ids in zip(seen.requests, encoded, strict=True)
        ]
        later = [one[min(places, len(one) - 1)] for one in bounds]
        changes = [
            float((after[start:] - before[start:]).mean()) if start < len(after) else 0.0
            for after, before, start in zip(losses, seen.plain, later, strict=True)
        ]
        if any(start < len(one) for start, one in zip(later, losses, strict=True)):
            units["later_nll_change"] = changes
        injected = [records.get(one.id, {}).get("injected_nll") for one in seen.requests]
        if all(injected):
            units["injected_nll"] = [
                _mean(rows[min(places, len(rows) - 1)], cut) for rows, cut in zip(injected, bounds, strict=True)
            ]
        again, scores = self._paraphrased(view, seen) if self.paraphrases else ([], {})
        shown: dict[str, Any] = {"arm": view.arm, "size": str(view.size), "said": said[: self.show]}
        if scores:
            pairs = zip(units["rouge_l_f1"], scores["paraphrase_rouge_l_f1"], strict=True)
            units["own_prompt_only"] = [float(own >= RECITED > other) for own, other in pairs]
            shown["only"] = units["own_prompt_only"][: self.show]
        seen.said.append(shown)
        if self.anyedit is not None and view.arm == NESTED:  # the sizes come smallest first
            write_json(Path(self.anyedit), anyedit_rows(seen.requests, said, again, asked))
        return units | scores

    def said(self, view: Edits, requests: Sequence[EditRequest], prompts: Sequence[str] | None = None) -> list[str]:
        """What the model says to each request, or to other prompts in its place."""
        longest = max(len(view.prompting.target(one.target_new)) for one in requests)
        most = self.max_new_tokens or longest + longest // 4
        asked = [one.prompt for one in requests] if prompts is None else list(prompts)
        return view.generate(asked, max_new_tokens=most, batch_size=self.batch_size)

    def _facts(self, view: Edits, requests: Sequence[EditRequest]) -> list[list[str]]:
        """What is answered to the questions about each edit; nothing unless asked for, and every edit has some."""
        if not self.facts or not all(one.questions for one in requests):
            return []
        asked = [question for one in requests for question, _ in one.questions]
        said = iter(self.said(view, requests, asked))
        return [[next(said) for _ in one.questions] for one in requests]

    def _paraphrased(self, view: Edits, seen: Seen) -> tuple[list[str], dict[str, list[float]]]:
        """The same for the first paraphrase of each edit, if every edit has one; what is said, and the scores."""
        if not all(one.rephrase_prompts for one in seen.requests):
            return [], {}
        prompts = [one.rephrase_prompts[0] for one in seen.requests]
        pairs = [
            view.prompting.pair(prompt, one.target_new) for prompt, one in zip(prompts, seen.requests, strict=True)
        ]
        said = self.said(view, seen.requests, prompts)
        scores = text_scores(said, [one.target_new for one in seen.requests])
        nll = [float(one.mean()) for one in view.losses(pairs)]
        kept = {f"paraphrase_{name}": scores[name] for name in ("rouge_l_recall", "rouge_l_f1")}
        return said, {"paraphrase_nll": nll, **kept}

    def _predictions(self, view: Edits, seen: Seen) -> list[tuple[float, torch.Tensor]]:
        """The loss, and the most probable token at each place, of unrelated answers and of texts."""
        lm, tokenizer, found = view.language().lm, view.prompting.tokenizer, []
        texts = [tokenizer(one, truncation=True, max_length=256)["input_ids"] for one in seen.texts]
        device = next(iter(lm.parameters())).device
        with torch.no_grad():
            for ids, start in [*((one.ids, one.start) for one in seen.answers), *((one, 1) for one in texts)]:
                row = torch.tensor([list(ids)], device=device)
                logits = lm(input_ids=row[:, :-1], use_cache=False).logits[0, start - 1 :].float()
                loss = torch.nn.functional.cross_entropy(logits, row[0, start:])
                found.append((float(loss), logits.argmax(-1).cpu()))
        return found

    def elsewhere(self, view: Edits, seen: Seen) -> Mapping[str, float]:
        """How losses rose and most probable tokens stayed, on unrelated prompts and on texts."""
        now, count, found = self._predictions(view, seen), len(seen.answers), {}
        for name, part in (("other", slice(0, count)), ("text", slice(count, None))):
            pairs = list(zip(now[part], seen.before[part], strict=True))
            if pairs:
                found[f"{name}_nll_change"] = float(np.mean([one[0] - other[0] for one, other in pairs]))
                kept = torch.cat([(one[1] == other[1]).float() for one, other in pairs])
                found[f"{name}_top1_kept"] = float(kept.mean())
        return found


def _mean(by_window: Sequence[float], bounds: Sequence[int]) -> float:
    """The mean over tokens of means over windows."""
    sizes = np.diff(bounds)
    return float((np.array(by_window) * sizes).sum() / sizes.sum())
