"""
What a longer target costs: one shift for all of it, a shift for each window alone, and nested shifts.

    python -m benchmarks.editing.lengths --model LM --data unke.jsonl.gz --cache CACHE

Targets are the first 20, 40, 60 and 80 tokens of one answer, without an end, so that nothing but their length differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anysize.editing.requests.prompting import Encoded, Prompting
from anysize.editing.requests.readers import read, requests_of
from anysize.editing.requests.request import EditRequest
from anysize.editing.shifts.optimise import Goal, fit_shifts
from anysize.editing.shifts.suffix import Suffix
from benchmarks.editing.common import PAPER, WINDOW, between, few, injected, interval
from benchmarks.evidence import write_row

COUNTS, STEPS = (1, 2, 3, 4), 12
ARMS = {"nested": "uniform", "window": "window", "one-for-all": "last"}


def requests(file: Path, prompting: Prompting, count: int) -> list[EditRequest]:
    """The first so many long answers; every tenth row from the sixth on, so that no other benchmark has them."""
    long = (
        one for one in requests_of(read(file))[5::10] if len(prompting.target(one.target_new)) > COUNTS[-1] * WINDOW
    )
    return [one for one, _ in zip(long, range(count), strict=False)]


def one(request: EditRequest, suffix: Suffix, prompting: Prompting) -> dict[str, Any]:
    """Windows -> arm -> the loss with all shifts injected; and that of the unedited model."""
    asked, said = prompting.prompt(request.prompt), prompting.target(request.target_new)
    found: dict[str, Any] = {"id": request.id}
    for count in COUNTS:
        encoded = Encoded((*asked, *said[: count * WINDOW]), len(asked))
        cut = [WINDOW * place for place in range(count + 1)]
        here: dict[str, float] = {}
        for arm, coefficients in ARMS.items():
            if count > 1 or not here:  # one window is the same for all arms
                bounds = [0, cut[-1]] if arm == "one-for-all" else cut
                nll = fit_shifts(suffix, encoded, bounds, Goal(coefficients, steps=STEPS)).nll
                here.setdefault("unedited", float(np.mean(nll[0])))
                loss = float(np.mean(nll[-1]))
            here[arm] = loss
        found[str(count)] = here
    return found


def main() -> None:
    """Run what is missing and write the row."""
    report(injected(__doc__, "lengths", one, requests))


def report(ran: list[dict[str, Any]]) -> None:
    """Write the row."""
    names = ["unedited", *ARMS]
    loss = {arm: np.array([[each[str(count)][arm] for count in COUNTS] for each in ran]) for arm in names}
    behind = loss["one-for-all"] - loss["nested"]
    mean = behind.mean(0)
    worst = all(loss["one-for-all"][:, place].mean() > loss["window"][:, place].mean() for place in (1, 2, 3))
    grows = bool((np.diff(mean) > 0).all()) and interval(behind[:, 3] - behind[:, 1])[0] > 0
    told = "; ".join(
        f"{count} windows: " + ", ".join(f"{arm} {loss[arm][:, place].mean():.2f}" for arm in names)
        for place, count in enumerate(COUNTS)
    )
    write_row(
        "muke-lengths",
        paper=PAPER,
        claim="one shift for all is worse than a shift for each window at targets of 2, 3 and 4 windows, and what it "
        "loses to nested shifts grows with each window more",
        reported="one-for-all edits fail on long texts (AnyEdit and muKE, in words)",
        arms=names,
        metric="loss in nats per token with all shifts injected",
        values={arm: {f"{count} windows": list(loss[arm][:, at]) for at, count in enumerate(COUNTS)} for arm in names},
        outcome="won" if worst and grows else "mixed" if worst else "lost",
        note=f"{few(ran)}One-for-all minus nested: {', '.join(f'{value:+.2f}' for value in mean)} nats at 1 to 4 "
        f"windows; from 2 to 4 windows it grows by {between(behind[:, 3], behind[:, 1])}. {told}. {len(ran)} answers, "
        f"the same at every length; {STEPS} looks at the loss for a shift, so that one-for-all has a quarter of the "
        "steps at 4 windows; no write; the optimisation has no seed.",
        command="python -m benchmarks.editing.lengths --model LM --data unke.jsonl.gz --cache CACHE",
        data=f"UnKEBench v2 (no licence stated; not redistributed), the first 20 to 80 tokens of {len(ran)} answers; "
        "SmolLM2-135M-Instruct, its weights from four bits",
    )


if __name__ == "__main__":
    main()
