"""
The mechanism of nested windows alone: what the first shift of an edit does to the windows that come after its own.

    python -m benchmarks.editing.zero_out --model LM --data unke.jsonl.gz --cache CACHE

One shift is fitted to its own window (AnyEdit) or to all nested targets (muKE, uniform), with the same steps, and
injected alone; nothing is written. LM is the folder of SmolLM2-135M-Instruct, data is UnKEBench (v2), which has no
licence and stays where it is. A stopped run goes on with the edit it was at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anysize.backbones.causal import CausalLM
from anysize.editing.requests.prompting import Prompting
from anysize.editing.requests.request import EditRequest
from anysize.editing.shifts.optimise import Goal, fit_shifts
from anysize.editing.shifts.suffix import Suffix
from anysize.editing.shifts.windows import Target, windows
from benchmarks.common import arguments, kept
from benchmarks.editing.common import LAYER, PAPER, WINDOW, described, interval
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

COMMAND = "python -m benchmarks.editing.zero_out --model LM --data unke.jsonl.gz --cache CACHE"
STEPS = 12
ARMS = {"nested": "uniform", "window": "window"}


def one(request: EditRequest, suffix: Suffix, prompting: Prompting) -> dict[str, Any]:
    """Arm -> the loss of each window without a shift, and with the first alone."""
    encoded = prompting.encode(request)
    target = [prompting.tokenizer.decode([token]) for token in encoded.target]
    bounds = windows(Target(target, [0.0] * len(target)), WINDOW)
    found = {
        arm: fit_shifts(suffix, encoded, bounds, Goal(name, steps=STEPS), most=1).nll for arm, name in ARMS.items()
    }
    return {"id": request.id, "bounds": bounds, **found}


def later(ran: dict[str, Any], arm: str) -> float:
    """How the mean loss per token of all windows but the first changed."""
    sizes = np.diff(ran["bounds"])[1:]
    before, after = (np.array(row[1:]) for row in ran[arm])
    return float(((after - before) * sizes).sum() / sizes.sum())


def main() -> None:
    """Run what is missing and write the row."""
    parser = arguments(__doc__, "model", "data", "cache", count=50)
    asked = parser.parse_args()
    base = CausalLM.from_pretrained(asked.model)
    prompting = Prompting(base.tokenizer, base.lm.config.max_position_embeddings)
    chosen = requests(asked.data, prompting, asked.count)
    suffix = Suffix(base.lm, LAYER)
    ran = [kept(asked.cache / f"zero-{request.id}.json", one, request, suffix, prompting) for request in chosen]
    report(ran)


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    change = {arm: np.array([later(each, arm) for each in ran]) for arm in ARMS}
    own = {arm: np.array([each[arm][1][0] - each[arm][0][0] for each in ran]) for arm in ARMS}
    apart = change["nested"] - change["window"]
    low, high = interval(apart)
    share = float((apart < 0).mean())
    won = change["nested"].mean() < 0 < change["window"].mean() and high < 0 and share >= 0.9
    part = high < 0
    write_row(
        "muke-zero-out",
        paper=PAPER,
        claim="with the first shift of an edit alone, the loss of all later windows falls where the shift was fitted "
        "to nested targets and rises where it was fitted to its own window, and the difference is below zero on at "
        "least nine edits of ten",
        reported="not reported; the paper argues that an early shift acts on all later tokens",
        arms=list(ARMS),
        metric="change of the loss in nats per token",
        values={
            "later windows": {arm: {"first shift alone": list(found)} for arm, found in change.items()},
            "own window": {arm: {"first shift alone": list(found)} for arm, found in own.items()},
        },
        outcome="won" if won else "mixed" if part else "lost",
        note=f"Later windows {change['nested'].mean():+.3f} (nested) and {change['window'].mean():+.3f} (own window); "
        f"difference {apart.mean():+.3f}, 95 % interval {low:+.3f} to {high:+.3f} over {len(ran)} edits, below zero on "
        f"{100 * share:.0f} %; under its own window alone it rises on {int((change['window'] > 0).sum())} of them. "
        f"{'Fewer edits than the 50 that were meant. ' if len(ran) < 50 else ''}"
        f"The own window pays: {own['nested'].mean():+.3f} against {own['window'].mean():+.3f}. "
        f"Block {LAYER} of 30, windows of {WINDOW} tokens, {STEPS} looks at the loss, no write; the optimisation has "
        "no seed.",
        command=COMMAND,
        data=described(len(ran)),
    )


if __name__ == "__main__":
    main()
