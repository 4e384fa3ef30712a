"""
Many edits in one model: what is left of them, and what the rest of the model pays.

    python -m benchmarks.editing.many --model LM --data unke.jsonl.gz --cache CACHE [--in-turn 10] [--ways]

"together": shifts found in the unedited model, one write for all. "added": each edit's own write, summed. "in turn":
each edit is found in the model that holds those before it, whose keys its write keeps. "ft": the block, fine-tuned on
all of them, to the loss that "together" has.

With ``--ways`` the first ten are written together in other ways: with more weight on what texts have (30, 100, 300 and
1,000 times their moments, 10 before), and by AlphaEdit: the second way of the first row, in which ten cost other
prompts 1.12 and plain texts 1.25 nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anysize.editing.deltas.changes import Change, joined
from anysize.editing.deltas.delta import Delta
from anysize.editing.editor import Editor
from anysize.editing.methods import MuKE
from anysize.editing.plan import Plan, kept_plan
from anysize.editing.requests.request import EditRequest
from benchmarks.common import arguments, kept
from benchmarks.editing.common import BASE, PAPER, Measuring, described, editor_of, model_of, plan
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

COUNTS = (1, 10, 50)
WAYS = {
    **{f"weight {weight}": replace(BASE, preserve_weight=float(weight)) for weight in (30, 100, 300, 1000)},
    "alphaedit": replace(BASE, writer="alphaedit"),
}
SAID = 5
"""Edits, the first ones, whose answers are generated."""
METRICS = (
    "nll",
    "first_nll",
    "paraphrase_nll",
    "rouge_l_f1",
    "other_nll_change",
    "other_top1_kept",
    "text_nll_change",
    "text_top1_kept",
)


def one(
    changes: dict[str, Change], plans: Sequence[Plan], editor: Editor, measuring: Measuring, whole: bool
) -> dict[str, float]:
    """The loss of all edits, what the first say, and what the rest pays."""
    most = max(len(each.bounds) for each in plans) - 1
    model = model_of(editor, changes, plans, most if whole else None)
    requests = [each.request for each in plans]
    first = requests[:SAID]
    return {
        **measuring.losses(model, requests), **measuring.said(model, first), **measuring.elsewhere(model, first[0]),
        "first_nll": measuring.losses(model, first)["nll"],
    }  # fmt: skip


def summed(changes: Sequence[dict[str, Change]]) -> dict[str, Change]:
    """Several edits' changes as one."""
    return {name: joined([each[name] for each in changes]) for name in changes[0]}


def in_turn(editor: Editor, chosen: Sequence[EditRequest], cache: Path) -> tuple[list[Plan], list[dict[str, Change]]]:
    """Plans and changes of edits that follow one another; each is kept once it is found."""
    editor.method = BASE
    plans, changes = list[Plan](), list[dict[str, Change]]()
    for place, request in enumerate(chosen):
        file = cache / f"turn-{place}-{request.id}.safetensors"
        held = kept_plan(file, request, editor.prompting)
        if held is None:
            lm = Delta(summed(changes), (), "").view(editor.lm) if changes else editor.lm
            made = editor.plan(request, lm)
            change = editor.write([made], lm, [each.encoded for each in plans])
            made.save(file, change)
            held = made, change
        plans.append(held[0])
        changes.append(held[1])
    return plans, changes


def added(editor: Editor, plans: Sequence[Plan]) -> dict[str, Change]:
    """Each edit written by itself in the unedited model, and the changes summed."""
    return summed([editor.write([each]) for each in plans])


def tuned(editor: Editor, plans: Sequence[Plan], stop: float) -> dict[str, Change]:
    """The block fine-tuned on all of these edits until the loss is `stop`."""
    editor.method = replace(BASE, writer="ft", ft_stop=stop)
    changes = editor.write(plans)
    editor.method = BASE
    return changes


def main() -> None:
    """Run what is missing and write the row."""
    parser = arguments(__doc__, "model", "data", "cache", count=50, in_turn=10, tuned=10)
    parser.add_argument("--ways", action="store_true", help="ten edits alone, written in other ways")
    asked = parser.parse_args()
    editor = editor_of(asked.model)
    measuring = Measuring(editor)
    chosen = requests(asked.data, editor.prompting, asked.count)[: 10 if asked.ways else asked.count]
    plans = [plan(editor, request, asked.cache) for request in chosen]
    if asked.ways:
        first = asked.cache / "many-together-1.json"
        alone = kept(first, lambda: one(editor.write(plans[:1]), plans[:1], editor, measuring, False))["nll"]
        found = {way: _written(method, way, plans, editor, measuring, asked.cache) for way, method in WAYS.items()}
        report_ways(found, alone)
        return
    ran: dict[str, dict[int, dict[str, float]]] = {"together": {}, "added": {}, "in turn": {}, "ft": {}}

    def measure(arm: str, made: Sequence[Plan], write: Callable[[], dict[str, Change]]) -> None:
        file = asked.cache / f"many-{arm.replace(' ', '-')}-{len(made)}.json"
        ran[arm][len(made)] = kept(file, lambda: one(write(), made, editor, measuring, arm == "ft"))

    for count in (each for each in COUNTS if each <= asked.count):
        some = plans[:count]
        measure("together", some, partial(editor.write, some))
        measure("added", some, partial(added, editor, some))
        if count <= asked.tuned:
            measure("ft", some, partial(tuned, editor, some, max(ran["together"][count]["nll"], 0.01)))
    turned, changes = in_turn(editor, chosen[: asked.in_turn], asked.cache)
    for count in (each for each in COUNTS if each <= asked.in_turn):
        measure("in turn", turned[:count], partial(summed, changes[:count]))
    report(ran, asked.count)


def _written(
    method: MuKE, way: str, plans: Sequence[Plan], editor: Editor, measuring: Measuring, cache: Path
) -> dict[str, float]:
    """What ten edits come to, written together by this method."""

    def found() -> dict[str, float]:
        editor.method = method
        changes = editor.write(plans)
        editor.method = BASE
        return one(changes, plans, editor, measuring, False)

    held: dict[str, float] = kept(cache / f"many-way-{way.replace(' ', '-')}.json", found)
    return held


def report_ways(ran: dict[str, dict[str, float]], alone: float) -> None:
    """Write the row of ten edits."""
    good = {
        way: found["nll"] <= alone + 0.3 and found["other_nll_change"] <= 0.5 and found["text_nll_change"] <= 0.1
        for way, found in ran.items()
    }
    told = "; ".join(
        f"{way}: loss {found['nll']:.2f}, other prompts {found['other_nll_change']:.2f}, texts "
        f"{found['text_nll_change']:.2f}"
        for way, found in ran.items()
    )
    write_row(
        "muke-many-ways",
        paper=PAPER,
        claim="with more weight on what texts have, or by AlphaEdit, ten edits in one model, written together, keep "
        "their loss within .3 nats of a single edit's, and cost other prompts at most .5 and plain texts at most .1 "
        "nats a token, in at least one of these ways",
        reported="batches of edits by MEMIT and AlphaEdit; no nested ones",
        arms=list(ran),
        metric="loss in nats per token after the write, of all edits in the model",
        values={metric: {way: {"10 edits": found[metric]} for way, found in ran.items()} for metric in METRICS},
        outcome="won" if any(good.values()) else "lost",
        note=f"{told}. The second way of muke-many, whose single edit has a loss of {alone:.2f}.",
        command="python -m benchmarks.editing.many --model LM --data unke.jsonl.gz --cache CACHE --ways",
        data=described(10),
    )


def report(ran: dict[str, dict[int, dict[str, float]]], count: int) -> None:
    """Write the row."""
    ran = {arm: held for arm, held in ran.items() if held}
    together = ran["together"]
    most, alone = together[max(together)], together[1]
    keeps = most["nll"] <= alone["nll"] + 0.3
    local = most["other_nll_change"] <= 0.5 and most["text_nll_change"] <= 0.1
    words = {
        "nll": "loss",
        "first_nll": "of the first",
        "rouge_l_f1": "ROUGE-L F1",
        "other_nll_change": "other prompts",
        "text_nll_change": "texts",
    }
    told = "; ".join(
        f"{arm}, {', '.join(map(str, held))} edits: "
        + ", ".join(f"{word} {_listed(held, metric)}" for metric, word in words.items())
        for arm, held in ran.items()
    )
    write_row(
        "muke-many",
        paper=PAPER,
        claim="many edits in one model, written together, keep their loss within .3 nats of a single edit's, and cost "
        "other prompts at most .5 and plain texts at most .1 nats a token",
        reported="single edits and small batches; general ability falls after hundreds of edits (others' reports)",
        arms=list(ran),
        metric="loss in nats per token after the write, of all edits in the model",
        values={
            metric: {arm: {f"{n} edits": found[metric] for n, found in held.items()} for arm, held in ran.items()}
            for metric in METRICS
        },
        outcome="won" if keeps and local else "mixed" if keeps or local else "lost",
        note=f"{told}. Answers are those of the first {SAID} edits, losses of all; fine-tuning stops at the loss of "
        "the edits written together. One order of the edits; the optimisation has no seed.",
        command="python -m benchmarks.editing.many --model LM --data unke.jsonl.gz --cache CACHE",
        data=described(count),
    )


def _listed(held: dict[int, dict[str, float]], metric: str) -> str:
    return "/".join(f"{found[metric]:.2f}" for found in held.values())


if __name__ == "__main__":
    main()
