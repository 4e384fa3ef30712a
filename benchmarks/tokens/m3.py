"""
M3 on composites of digits: one model at 1, 4 and 16 tokens a picture against one model each, pooling afterwards, and
one random grid a step.

    python -m benchmarks.tokens.m3 --cache CACHE      # about an hour of one core for three seeds

Every arm begins with the same small vision-language model (benchmarks/tokens/base.py) and sees the same 12,800
questions twice. Finished runs are kept in --cache, so that a stopped run continues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anysize.tokens.chooser import Chooser
from anysize.tokens.methods import M3
from anysize.tokens.oracle import Choice, oracle
from benchmarks.common import arguments, per_seed, shown
from benchmarks.evidence import write_row
from benchmarks.tokens.arms import accuracies, learnt, marks, single
from benchmarks.tokens.base import base
from benchmarks.tokens.digits import KINDS

TOKENS = (1, 4, 16)
PAPER = "Matryoshka Multimodal Models, arXiv 2405.17430"
DATA = "scikit-learn digits, 4 x 4 composites; 2,000 test questions about other scans; one base for all seeds"
COMMAND = "python -m benchmarks.tokens.m3 --cache CACHE"
ARMS = ("m3", "single-1", "single-4", "single-16", "random", "random-flops")


def method(arm: str, folder: Path) -> Any:
    """How an arm is trained; ``random-flops`` takes three times the steps, as many operations as M3."""
    nested = M3(model=str(folder), tokens=TOKENS, epochs=2.0, learning_rate=5e-4)
    if arm.startswith("single"):
        return single(nested, int(arm.partition("-")[2]))
    return nested if arm == "m3" else replace(nested, draw="random", epochs=6.0 if arm == "random-flops" else 2.0)


def run(seed: int, arm: str, cache: Path) -> dict[str, Any]:
    """The marks of one arm at every budget."""
    made = learnt(method(arm, base(cache / "base-0", 0)), seed, cache / f"m3-{arm}-{seed}", TOKENS)
    return marks(made, seed)


def row(cache: Path, seeds: int) -> None:
    """Write the rows."""
    runs = {arm: per_seed(cache, f"m3-{arm}", range(seeds), run, arm, cache) for arm in ARMS}
    table = {arm: [accuracies(one) for one in found] for arm, found in runs.items()}
    every = {
        arm: {str(size): [one[str(size)]["all"] for one in found] for size in TOKENS} for arm, found in table.items()
    }
    alone = {str(size): every[f"single-{size}"][str(size)] for size in TOKENS}
    ratios = np.array([np.array(every["m3"][size]) / np.array(alone[size]) for size in alone])  # size, seed
    kinds = {kind: {str(size): [one[str(size)][kind] for one in table["m3"]] for size in TOKENS} for kind in KINDS}
    common: dict[str, Any] = {"paper": PAPER, "metric": "accuracy", "data": DATA, "command": COMMAND}
    means = ratios.mean(1)
    write_row(
        "m3-one-model",
        claim="one model at 1, 4 and 16 tokens has on average at least .98 of the accuracy of a model trained for "
        "each, and at none below .95",
        reported="LLaVA-NeXT: 0.97 to 1.02 of the models of one scale on most sets, below them on DocVQA everywhere",
        arms=["m3", "single"],
        values={"m3": every["m3"], "single": alone, **{f"m3, {kind}": found for kind, found in kinds.items()}},
        outcome="won" if means.mean() >= 0.98 and means.min() >= 0.95 else "lost",
        note=f"Ratio {means.mean():.3f} on average; at 1, 4, 16 tokens {', '.join(f'{one:.3f}' for one in means)}.",
        **common,
    )
    above = {size: np.array(every["m3"][size]) - np.array(every["single-16"][size]) for size in ("1", "4")}
    low = min(one.min() for one in above.values())
    write_row(
        "m3-pooled-after",
        claim="trained at all grids, the model is above the one trained with all tokens and pooled afterwards at 1 "
        "and 4 tokens on every seed, and by more at 1",
        reported="MMBench at 144, 36, 9, 1 tokens: +7.8, +17.8, +21.9, +43.6 points above pooling afterwards",
        arms=["m3", "full-cut"],
        values={"m3": every["m3"], "full-cut": every["single-16"]},
        outcome="won" if low > 0 and above["1"].mean() > above["4"].mean() else "lost",
        note="; ".join(f"at {size} tokens {shown(one)}" for size, one in above.items()) + ".",
        **common,
    )
    gaps = {
        arm: np.mean([np.array(every["m3"][str(size)]) - np.array(every[arm][str(size)]) for size in TOKENS], axis=0)
        for arm in ("random", "random-flops")
    }
    write_row(
        "m3-random",
        claim="all grids at every step are on average of the grids above one random grid a step at equal examples, "
        "on every seed; at equal operations the difference is told",
        reported="one random scale a sample loses at every scale (AI2D at 9 tokens: 63 to 65 against 66.8)",
        arms=["m3", "random", "random-flops"],
        values={arm: every[arm] for arm in ("m3", "random", "random-flops")},
        outcome="won" if gaps["random"].min() > 0 else "mixed" if gaps["random"].mean() > 0 else "lost",
        note=f"M3 minus one random grid, mean over grids: at equal examples {shown(gaps['random'])}; at equal "
        f"operations {shown(gaps['random-flops'])}.",
        **common,
    )


def choice(runs: Sequence[Mapping[str, Any]]) -> None:
    """Write the row of a budget for each question: the oracle, its control, and a chooser that half of them taught."""
    figures: dict[str, dict[str, list[float]]] = {}
    for run_ in runs:
        marks_ = np.array([list(run_["marks"][str(size)]) for size in TOKENS], dtype=int).T
        margins = np.array(run_["margins"][str(TOKENS[0])])
        half = np.arange(len(marks_)) % 2 == 0
        told = oracle(marks_[half], TOKENS)
        picked = Chooser.fit(margins[~half], marks_[~half], TOKENS).pick(margins[half])
        places = np.array([TOKENS.index(one) for one in picked])
        learnt_ = Choice(float(marks_[half][np.arange(len(places)), places].mean()), float(np.mean(picked)))
        mixed = float(np.interp(learnt_.tokens, TOKENS, marks_[half].mean(0)))
        for name, one in (
            ("best single grid", told.best_fixed), ("oracle, fewest tokens if none", told.fewest),
            ("oracle, most tokens if none", told.most), ("shuffled", told.control), ("chooser", learnt_),
            ("single grids mixed at the chooser's tokens", Choice(mixed, learnt_.tokens)),
        ):  # fmt: skip
            row_ = figures.setdefault(name, {"accuracy": [], "tokens": []})
            row_["accuracy"].append(one.accuracy)
            row_["tokens"].append(one.tokens)
    mean = {name: float(np.mean(one["accuracy"])) for name, one in figures.items()}
    above = mean["oracle, fewest tokens if none"] > mean["shuffled"]
    better = mean["chooser"] > mean["single grids mixed at the chooser's tokens"]
    write_row(
        "m3-choice",
        paper=PAPER,
        claim="an oracle that takes the fewest tokens that answer gains more over the best single grid than it does on "
        "shuffled answers, and a chooser that sees the margin at one token is above single grids mixed at random for "
        "the same mean of tokens",
        reported="oracle on MMBench: 74.35 at 8.9 tokens beside 69.50 at 144; no control, no chooser",
        arms=["m3"],
        metric="accuracy and mean tokens a question, on half of the questions; the chooser learnt from the other half",
        values=figures,
        outcome="won" if above and better else "mixed" if above or better else "lost",
        note="; ".join(f"{name} {mean[name]:.3f} at {np.mean(one['tokens']):.1f}" for name, one in figures.items())
        + " tokens. Real answers agree between grids and shuffled ones do not, so that more of the shuffled are right "
        "at some grid: this control can hardly be beaten by a model that is nested well.",
        command=COMMAND,
        data=DATA,
    )


def main() -> None:
    """Run what is missing and write the rows."""
    asked = arguments(__doc__, "cache", seeds=3).parse_args()
    row(asked.cache, asked.seeds)
    choice(per_seed(asked.cache, "m3-m3", range(asked.seeds), run, "m3", asked.cache))


if __name__ == "__main__":
    main()
