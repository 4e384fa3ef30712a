"""
muKE's adaptive coefficients beside uniform ones: by the affinity of gradients, in both orders.

    python -m benchmarks.editing.affinity --model LM --data unke.jsonl.gz --cache CACHE

The published code reads affinities in reverse ("code"); the straight reading is "forward".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from anysize.editing.editor import Editor
from anysize.editing.requests.request import EditRequest
from benchmarks.common import arguments, kept
from benchmarks.editing.common import BASE, PAPER, Measuring, between, described, editor_of, interval, model_of, plan
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

ARMS = {
    "uniform": BASE,
    "affinity, code": replace(BASE, coefficients="affinity", affinity_order="code"),
    "affinity, forward": replace(BASE, coefficients="affinity", affinity_order="forward"),
}


def one(request: EditRequest, editor: Editor, measuring: Measuring, cache: Any) -> dict[str, Any]:
    """Arm -> its metrics; and the affinities."""
    found: dict[str, Any] = {"id": request.id}
    for arm, method in ARMS.items():
        made = plan(editor, request, cache) if arm == "uniform" else None
        editor.method = method
        made = made or editor.plan(request)
        found[arm] = measuring.losses(model_of(editor, editor.write([made]), [made]), [request])
        found["affinities"] = made.found.affinities if made.found else []
    return found


def main() -> None:
    """Run what is missing and write the row."""
    parser = arguments(__doc__, "model", "data", "cache", count=20)
    asked = parser.parse_args()
    editor = editor_of(asked.model)
    measuring = Measuring(editor)
    chosen = requests(asked.data, editor.prompting, asked.count)
    report(
        [kept(asked.cache / f"affinity-{each.id}.json", one, each, editor, measuring, asked.cache) for each in chosen]
    )


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    metrics = ("nll", "paraphrase_nll")
    values = {metric: {arm: np.array([each[arm][metric] for each in ran]) for arm in ARMS} for metric in metrics}
    nll, again = values["nll"], values["paraphrase_nll"]
    spans = {arm: interval(nll[arm] - nll["uniform"]) for arm in list(ARMS)[1:]}
    helps, harms = any(high < 0 for _, high in spans.values()), all(low > 0 for low, _ in spans.values())
    apart = np.concatenate([np.array(row[1:]) for each in ran for row in each["affinities"][:-1]])
    told = "; ".join(
        f"{arm} minus uniform {between(nll[arm], nll['uniform'])} nats, "
        f"for a paraphrase {between(again[arm], again['uniform'])}"
        for arm in spans
    )
    write_row(
        "muke-affinity",
        paper=PAPER,
        claim="coefficients by the affinity of gradients, in at least one of the two orders, give a lower loss after "
        "the write than uniform ones",
        reported="the adaptive coefficients are part of the method's gain of up to 12.33 %",
        arms=list(ARMS),
        metric="loss in nats per token after the write",
        values={
            metric: {arm: {"edits": list(found)} for arm, found in held.items()} for metric, held in values.items()
        },
        outcome="won" if helps else "lost" if harms else "tied",
        note=f"{told}. {len(ran)} edits. Affinities of later targets: median {np.median(apart):.2f}, a tenth below "
        f"{np.quantile(apart, 0.1):.2f}; where they are near 1, the coefficients are nearly uniform. "
        "Equal steps; the optimisation has no seed.",
        command="python -m benchmarks.editing.affinity --model LM --data unke.jsonl.gz --cache CACHE",
        data=described(len(ran)),
    )


if __name__ == "__main__":
    main()
