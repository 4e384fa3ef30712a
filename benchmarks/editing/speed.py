"""
Seconds of an edit beside the plain loop of the papers, with the keys of other prompts found once for a model.

    python -m benchmarks.editing.speed --model LM --data unke.jsonl.gz --cache CACHE

The second way of the row that `benchmarks.editing.arms` writes, where every write found those keys again.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from anysize.editing.editor import Editor
from anysize.editing.requests.request import EditRequest
from anysize.editing.shifts.suffix import block_at, injecting
from benchmarks.common import arguments, kept
from benchmarks.editing.common import BASE, LAYER, PAPER, described, editor_of
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

PLAIN_STEPS = 3


def plain_step(request: EditRequest, editor: Editor) -> float:
    """Processor seconds of a step of the whole model with one shift injected, its parameters frozen."""
    encoded, lm = editor.prompting.encode(request), editor.lm.requires_grad_(False)
    block = block_at(lm, LAYER)
    shift = torch.zeros(lm.config.hidden_size, requires_grad=True)
    ids = torch.tensor([encoded.ids])
    begin = time.process_time()
    for _ in range(PLAIN_STEPS):
        with injecting(block, {(0, encoded.start - 1): shift}):
            logits = lm(input_ids=ids[:, :-1], use_cache=False).logits[0, encoded.start - 1 :]
        torch.nn.functional.cross_entropy(logits, ids[0, encoded.start :]).backward()
    return (time.process_time() - begin) / PLAIN_STEPS


def one(request: EditRequest, editor: Editor) -> dict[str, Any]:
    """Processor seconds of shifts and write, the looks at the loss, and what one costs in the plain loop."""
    editor.method = BASE
    begin = time.process_time()
    plan = editor.plan(request)
    editor.write([plan])
    seconds = time.process_time() - begin
    steps = plan.found.steps if plan.found else []
    return {"id": request.id, "seconds": seconds, "steps": sum(steps), "plain step": plain_step(request, editor)}


def main() -> None:
    """Run what is missing and write the row."""
    parser = arguments(__doc__, "model", "data", "cache", count=20)
    asked = parser.parse_args()
    editor = editor_of(asked.model)
    chosen = requests(asked.data, editor.prompting, asked.count)
    report([kept(asked.cache / f"speed-{request.id}.json", one, request, editor) for request in chosen])


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    mine = np.array([each["seconds"] for each in ran])
    plain = np.array([each["plain step"] * each["steps"] for each in ran])
    ratio = float((mine / plain).mean())
    write_row(
        "muke-speed-kept",
        paper=PAPER,
        claim="with the keys of other prompts found once for a model, an edit takes at most half of the processor time "
        "of the papers' plain loop, with parameters frozen in both",
        reported="no times",
        arms=["nested", "plain loop"],
        metric="processor seconds",
        values={"nested": {"edits": list(mine)}, "plain loop": {"edits": list(plain)}},
        outcome="won" if ratio <= 0.5 else "lost",
        note=f"{ratio:.2f} of the plain loop's {plain.mean():.0f} s, the write included, over {len(ran)} edits; one "
        "thread of a shared machine. The plain loop's time is that of its steps alone.",
        command="python -m benchmarks.editing.speed --model LM --data unke.jsonl.gz --cache CACHE",
        data=described(len(ran)),
    )


if __name__ == "__main__":
    main()
