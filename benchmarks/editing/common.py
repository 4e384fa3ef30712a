"""What the benchmarks of edits share: the model and its settings, plans that are kept, measures, paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anysize.backbones.causal import CausalLM
from anysize.core.data.data import Data
from anysize.core.files import read_json
from anysize.core.verbs.evaluator import Task
from anysize.editing.deltas.changes import Change
from anysize.editing.deltas.delta import Delta
from anysize.editing.editor import Editor
from anysize.editing.measuring.evaluator import EditsEvaluator, Seen
from anysize.editing.measuring.scores import text_scores
from anysize.editing.methods import MuKE
from anysize.editing.model.model import EditedLM
from anysize.editing.plan import Plan, kept_plan
from anysize.editing.requests.prompting import Prompting
from anysize.editing.requests.readers import read
from anysize.editing.requests.request import EditRequest
from anysize.editing.shifts.suffix import Suffix
from anysize.editing.writing.projection import projection
from benchmarks.common import arguments, kept

PAPER = "muKE, Matryoshka Unstructured Knowledge Editing, arXiv 2504.01196"
LAYER, WINDOW = 12, 20
BASE = MuKE(layers=(LAYER,), window=WINDOW)


def editor_of(model: Path, texts: Sequence[str] | None = None) -> Editor:
    """An editor that has already found what a write keeps, so that no edit's time holds it."""
    base = CausalLM.from_pretrained(str(model))
    editor = Editor(base, BASE) if texts is None else Editor(base, BASE, texts=texts)
    editor.preserved.others(projection(editor.lm, LAYER))
    editor.preserved.moments(projection(editor.lm, LAYER))
    return editor


def injected(
    doc: str | None, name: str, one: Callable[..., Any], choose: Callable[[Path, Prompting, int], Sequence[EditRequest]]
) -> list[dict[str, Any]]:
    """What ``one(request, suffix, prompting)`` finds of each edit that `choose` takes, kept by name."""
    asked = arguments(doc, "model", "data", "cache", count=20).parse_args()
    base = CausalLM.from_pretrained(asked.model)
    prompting, suffix = Prompting(base.tokenizer), Suffix(base.lm, LAYER)
    chosen = choose(asked.data, prompting, asked.count)
    return [kept(asked.cache / f"{name}-{each.id}.json", one, each, suffix, prompting) for each in chosen]


def with_arms(cache: Path, chosen: Sequence[EditRequest]) -> Iterator[tuple[EditRequest, dict[str, Any]]]:
    """The edits that ``benchmarks.editing.arms`` has done, with what it found."""
    for request in chosen:
        file = cache / f"arms-{request.id}.json"
        if file.exists():
            yield request, read_json(file, "a finished run")


def plan_file(cache: Path, request: EditRequest) -> Path:
    """Where a nested plan of the unedited model is kept."""
    return cache / f"plan-{request.id}.safetensors"


def plan(editor: Editor, request: EditRequest, cache: Path) -> Plan:
    """The nested plan of an edit in the unedited model, found once."""
    editor.method = BASE
    file = plan_file(cache, request)
    held = kept_plan(file, request, editor.prompting)
    if held is not None:
        return held[0]
    found = editor.plan(request)
    found.save(file, {})
    return found


def edits(requests: Sequence[EditRequest]) -> Data:
    """Requests as data."""
    found: Data = read([one.to_json() for one in requests])
    return found


def model_of(editor: Editor, changes: dict[str, Change], plans: Sequence[Plan], whole: int | None = None) -> EditedLM:
    """The edited model; `whole` as in `EditedLM.of`."""
    told = {"chat": editor.prompting.chat, "records": [one.record() for one in plans]}
    return EditedLM.of(
        editor.base, Delta(changes, tuple(one.request for one in plans), editor.fingerprint), told, whole
    )


def scored(model: EditedLM, evaluator: EditsEvaluator, task: Task) -> dict[str, float]:
    """Every metric of a model's edits, of which each is a mean over the edits."""
    scores = evaluator.score(model, task)
    return {**{name: float(values.mean()) for name, values in scores.units.items()}, **scores.metrics}


class Measuring:
    """Measures edited models one after the other; what the unedited one says to other prompts is found once."""

    def __init__(self, editor: Editor) -> None:
        self.editor, self.evaluator = editor, EditsEvaluator(paraphrases=False)
        self._seen: Seen | None = None

    def losses(self, model: EditedLM, requests: Sequence[EditRequest]) -> dict[str, float]:
        """The mean losses of edits, for their own prompts and for their paraphrases; a moment an edit."""
        encoded = [model.prompting.encode(one) for one in requests]
        others = [model.prompting.pair(one.rephrase_prompts[0], one.target_new) for one in requests]
        return {
            name: float(np.mean([float(each.mean()) for each in model.losses(pairs)]))
            for name, pairs in (("nll", encoded), ("paraphrase_nll", others))
        }

    def said(self, model: EditedLM, requests: Sequence[EditRequest]) -> dict[str, float]:
        """How alike what the model says is to the targets; seconds an edit."""
        said = self.evaluator.said(model, requests)
        scores = text_scores(said, [one.target_new for one in requests])
        return {name: float(np.mean(scores[name])) for name in ("rouge_l_f1", "rouge_l_recall")}

    def elsewhere(self, model: EditedLM, request: EditRequest) -> dict[str, float]:
        """What the rest of the model pays; `request` is any edit, without prompts of its own about other things."""
        if self._seen is None:
            task = self.evaluator.prepare(edits([request]))
            self.evaluator.score(model.before(), task)
            self._seen = task.on
        return dict(self.evaluator.elsewhere(model, self._seen))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean, by drawing edits anew."""
    draws = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def between(one: np.ndarray, other: np.ndarray) -> str:
    """A paired difference with its interval, in words."""
    low, high = interval(one - other)
    return f"{(one - other).mean():+.3f} ({low:+.3f} to {high:+.3f})"


def few(ran: Sequence[object]) -> str:
    """How a note begins that tells of few edits."""
    return f"Only {len(ran)} edits, where 50 were meant: a look, no proof. " if len(ran) < 10 else ""


def described(count: int) -> str:
    """The data of a row."""
    return (
        f"UnKEBench v2 (no licence stated; not redistributed), {count} answers cut at a sentence to 55-75 tokens; "
        "SmolLM2-135M-Instruct, its weights from four bits"
    )
