"""
The model after the first windows of an edit: its loss, what it says, and what the rest pays, window by window.

    python -m benchmarks.editing.frontier --model LM --data unke.jsonl.gz --cache CACHE
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anysize.editing.editor import Editor
from anysize.editing.requests.request import EditRequest
from benchmarks.common import arguments, kept
from benchmarks.editing.common import (
    BASE,
    PAPER,
    Measuring,
    between,
    described,
    editor_of,
    few,
    interval,
    model_of,
    plan,
)
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

WINDOWS = (1, 2, 3, 4)
ARMS = ("nested", "window")
METRICS = {"nll": ARMS, "paraphrase_nll": ARMS, "rouge_l_f1": ARMS[:1], "rouge_l_recall": ARMS[:1]}
"""Metric -> the arms that it is measured of."""


def one(request: EditRequest, editor: Editor, measuring: Measuring, cache: Path) -> dict[str, Any]:
    """Arm -> windows -> metrics; and those of the unedited model."""
    found: dict[str, Any] = {"id": request.id}
    for arm in ARMS:
        made = plan(editor, request, cache) if arm == "nested" else None
        editor.method = replace(BASE, coefficients="window")
        made = made or editor.plan(request)
        model = model_of(editor, editor.write([made]), [made])
        sizes = {str(j): model.at(windows=j) for j in range(1, len(made.bounds))}
        found[arm] = {j: measuring.losses(view, [request]) for j, view in sizes.items()}
        if arm == "nested":
            found["unedited"] = {
                **measuring.losses(model.before(), [request]), **measuring.said(model.before(), [request])
            }  # fmt: skip
            for j, view in sizes.items():
                found[arm][j] |= measuring.said(view, [request])
    return found


def main() -> None:
    """Run what is missing and write the row."""
    parser = arguments(__doc__, "model", "data", "cache", count=20)
    asked = parser.parse_args()
    editor = editor_of(asked.model)
    measuring = Measuring(editor)
    chosen = requests(asked.data, editor.prompting, asked.count)
    report(
        [kept(asked.cache / f"frontier-{each.id}.json", one, each, editor, measuring, asked.cache) for each in chosen]
    )


def _at(each: dict[str, Any], arm: str, windows: int, metric: str) -> float:
    """An edit of fewer windows is whole at its last."""
    held = each["unedited"] if not windows else each[arm][str(min(windows, len(each[arm])))]
    return float(held[metric])


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    found = {
        metric: {arm: np.array([[_at(each, arm, j, metric) for j in (0, *WINDOWS)] for each in ran]) for arm in arms}
        for metric, arms in METRICS.items()
    }
    nll, rouge = found["nll"], found["rouge_l_f1"]["nested"]
    steps = nll["nested"].mean(0)
    falls = bool((np.diff(steps[:4]) < 0).all()) and bool((np.diff(rouge.mean(0)[:4]) > 0).all())
    early = interval(nll["nested"][:, 1] - nll["window"][:, 1])[1] < 0
    listed = {metric: ", ".join(f"{value:.2f}" for value in found[metric]["nested"].mean(0)) for metric in METRICS}
    write_row(
        "muke-frontier",
        paper=PAPER,
        claim="with each of the first three windows that is written, the loss of the whole target falls and ROUGE-L F1 "
        "rises; and after the first window alone the whole target's loss is lower with nested shifts than with shifts "
        "for their own windows",
        reported="not reported: the paper writes all windows",
        arms=list(ARMS),
        metric="loss in nats per token of the whole target after the write",
        values={
            metric: {arm: {f"{j} windows": list(each[:, j]) for j in (0, *WINDOWS)} for arm, each in held.items()}
            for metric, held in found.items()
        },
        outcome="won" if falls and early else "mixed" if falls or early else "lost",
        note=f"{few(ran)}Nested, 0 to 4 windows: loss {listed['nll']}; for a paraphrase {listed['paraphrase_nll']}; "
        f"ROUGE-L F1 {listed['rouge_l_f1']}. After the first window nested minus own "
        f"windows {between(nll['nested'][:, 1], nll['window'][:, 1])} nats, after all "
        f"{between(nll['nested'][:, 4], nll['window'][:, 4])}. {len(ran)} edits of 3 or 4 windows; those of 3 count "
        "whole at 4. The optimisation has no seed.",
        command="python -m benchmarks.editing.frontier --model LM --data unke.jsonl.gz --cache CACHE",
        data=described(len(ran)),
    )


if __name__ == "__main__":
    main()
