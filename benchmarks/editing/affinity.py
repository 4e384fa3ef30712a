"""
muKE's adaptive coefficients beside uniform ones: by the affinity of gradients, in both orders.

    python -m benchmarks.editing.affinity --model LM --data unke.jsonl.gz --cache CACHE

The published code reads affinities in reverse ("code"); the straight reading is "forward". Shifts are injected, not
written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anysize.editing.requests.prompting import Prompting
from anysize.editing.requests.request import EditRequest
from anysize.editing.shifts.optimise import Goal, fit_shifts
from anysize.editing.shifts.suffix import Suffix
from anysize.editing.shifts.windows import Target, windows
from benchmarks.editing.common import PAPER, WINDOW, between, described, few, injected, interval
from benchmarks.editing.data import requests
from benchmarks.evidence import write_row

STEPS = 12
ARMS = {
    "uniform": Goal(steps=STEPS),
    "affinity, code": Goal("affinity", "code", steps=STEPS),
    "affinity, forward": Goal("affinity", "forward", steps=STEPS),
}


def one(request: EditRequest, suffix: Suffix, prompting: Prompting) -> dict[str, Any]:
    """Arm -> the loss of the whole target with all shifts injected; and the affinities."""
    encoded = prompting.encode(request)
    bounds = windows(Target([""] * len(encoded.target), []), WINDOW)
    found: dict[str, Any] = {"id": request.id}
    for arm, goal in ARMS.items():
        made = fit_shifts(suffix, encoded, bounds, goal)
        found[arm] = float(np.average(made.nll[-1], weights=np.diff(bounds)))
        found["affinities"] = made.affinities
    return found


def main() -> None:
    """Run what is missing and write the row."""
    report(injected(__doc__, "affinity", one, requests))


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    nll = {arm: np.array([each[arm] for each in ran]) for arm in ARMS}
    spans = {arm: interval(nll[arm] - nll["uniform"]) for arm in list(ARMS)[1:]}
    helps, harms = any(high < 0 for _, high in spans.values()), all(low > 0 for low, _ in spans.values())
    apart = np.concatenate([np.array(row[1:]) for each in ran for row in each["affinities"][:-1]])
    told = "; ".join(f"{arm} minus uniform {between(nll[arm], nll['uniform'])} nats" for arm in spans)
    write_row(
        "muke-affinity",
        paper=PAPER,
        claim="coefficients by the affinity of gradients, in at least one of the two orders, give a lower loss with "
        "all shifts injected than uniform ones",
        reported="the adaptive coefficients are part of the method's gain of up to 12.33 %",
        arms=list(ARMS),
        metric="loss in nats per token with all shifts injected",
        values={arm: {"edits": list(found)} for arm, found in nll.items()},
        outcome="won" if helps else "lost" if harms else "tied",
        note=f"{few(ran)}{told}; uniform {nll['uniform'].mean():.3f}. {len(ran)} edits. "
        f"Affinities of later targets: median {np.median(apart):.2f}, a tenth below {np.quantile(apart, 0.1):.2f}; "
        "where they are near 1, the coefficients "
        f"are nearly uniform. {STEPS} looks at the loss for a shift; the optimisation has no seed.",
        command="python -m benchmarks.editing.affinity --model LM --data unke.jsonl.gz --cache CACHE",
        data=described(len(ran)),
    )


if __name__ == "__main__":
    main()
