"""
Mix'n'Match on all-MiniLM-L6-v2: a width per block, by the paper's patterns and by measured sensitivity.

    python -m benchmarks.matquant_encoder --data DATA_DIR --cache CACHE    # first: it keeps the models
    python -m benchmarks.matquant_mixing --data DATA_DIR --cache CACHE     # about five minutes of one free core

The MatQuant models of `benchmarks.matquant_encoder` are cut at mixed widths and measured on PAIRS pairs of STS-B's test
part, beside one width for all blocks. Sensitivity is measured on the validation pairs that chose the rates.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.files import read_json, write_json
from anysize.core.registry import load
from anysize.quantize.mixing import average_bits, by_pattern, by_sensitivity, sensitivity
from benchmarks.evidence import write_row
from benchmarks.matquant_arms import Bench, Runs
from benchmarks.matquant_encoder import benches, similarity, some_pairs

PATTERNS = ("pyramid", "reverse", "increasing", "decreasing")
AVERAGES = {(2, 4): (8 / 3, 10 / 3), (2, 4, 8): (4.0,)}
"""Widths to mix -> mean widths to reach."""
UNIFORM = (2, 3, 4, 6, 8)
PAIRS = 300


def key(levels: tuple[int, ...], average: float) -> str:
    """How a mixture is called in the row."""
    return f"{'/'.join(map(str, levels))} at {average:.2f} bits"


def frontier(model: Any, bench: Bench, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Figure -> arm -> mixture -> value, for one model."""
    pairs = some_pairs(folder / "stsb/test.tsv", PAIRS)
    costs = sensitivity(model, bench.valid)
    found: dict[str, dict[str, dict[str, float]]] = {"sts": {}, "mean bits": {}, "megabytes": {}}

    def note(arm: str, name: str, view: Any) -> None:
        for figure, value in (
            ("sts", similarity(view, pairs)),
            ("mean bits", average_bits(view)),
            ("megabytes", view.cost().bytes / 1e6),
        ):
            found[figure].setdefault(arm, {})[name] = value

    for bits in UNIFORM:
        note("one width", f"{bits} bits", model.at(bits=bits))
    for levels, averages in AVERAGES.items():
        for average in averages:
            for pattern in PATTERNS:
                view = model.mix(by_pattern(model, pattern, average + 1e-6, levels))
                note(pattern, key(levels, average), view)
            view = model.mix(by_sensitivity(model, costs, average + 1e-6, levels))
            note("by sensitivity", key(levels, average), view)
    found["lost at 2 bits, block alone"] = {"by sensitivity": costs}
    return found


def main() -> None:
    """Measure the models that there are, then write a row for each kind of codes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150, help="as of the benchmark that made the models")
    args = parser.parse_args()
    runs = Runs(args.cache, math.inf)
    bench = benches(args.data, args.steps)[0]
    for arm in ("matquant", "matquant, symmetric"):
        each = []
        for seed in range(args.seeds):
            kept, folder = runs.file("mixing", arm, seed), runs.model(bench, arm, seed)
            if not kept.exists() and folder.exists():
                write_json(kept, frontier(load(folder), bench, args.data))
                print(kept, flush=True)
            if kept.exists():
                each.append(read_json(kept, "finished mixtures"))
        if each:
            report(arm.partition(", ")[2], each)


def report(scheme: str, each: list[Any]) -> None:
    """Which pattern is best, and whether mixtures stand above one width for all."""
    values = {
        figure: {arm: {name: [one[figure][arm][name] for one in each] for name in names} for arm, names in arms.items()}
        for figure, arms in each[0].items()
    }
    sts = values["sts"]
    mixtures = [key(levels, average) for levels, averages in AVERAGES.items() for average in averages]
    mean = {arm: float(np.mean([sts[arm][name] for name in mixtures])) for arm in sts if arm != "one width"}
    best = max(PATTERNS, key=lambda arm: mean[arm])
    first = [name for name in mixtures if all(np.mean(sts["pyramid"][name]) >= np.mean(sts[a][name]) for a in PATTERNS)]
    uniform = [(bits, float(np.mean(sts["one width"][f"{bits} bits"]))) for bits in UNIFORM]
    trained = [point for point in uniform if point[0] in (2, 4, 8)]
    above = [
        f"{arm} {name}"
        for arm, name in itertools.product(mean, mixtures)
        if np.mean(sts[arm][name]) > along(trained, float(np.mean(values["mean bits"][arm][name])))
    ]
    codes = f"feed-forward layers, {scheme or 'asymmetric'} codes"
    write_row(
        f"matquant-mixing{scheme and '-symmetric'}-encoder",
        paper="Matryoshka Quantization, arXiv 2502.06786",
        claim=f"Of four patterns of widths over the blocks of a sentence encoder ({codes}) the pyramid, narrow at "
        "both ends, is best on average over mean widths",
        reported="Gemma-2 and Mistral: the pyramid wins consistently",
        arms=list(sts),
        metric=f"Spearman on {PAIRS} pairs of STS-B test (sts); mean width of the quantised weights; megabytes read",
        values=values,
        outcome="won" if best == "pyramid" else "lost",
        note=f"The best pattern is {best} (seeds: {len(each)}). Mean over mixtures: "
        f"{', '.join(f'{arm} {value:.3f}' for arm, value in mean.items())}; "
        f"the pyramid is first of the patterns at {len(first)} of {len(mixtures)}. One width for all: "
        f"{', '.join(f'{value:.3f} at {bits} bits' for bits, value in uniform)}. Mixtures above the line through the "
        f"trained widths 2, 4 and 8: {len(above)} of {len(mean) * len(mixtures)} ({'; '.join(above) or 'none'}).",
        command="python -m benchmarks.matquant_encoder --data DATA_DIR --cache CACHE && "
        "python -m benchmarks.matquant_mixing --data DATA_DIR --cache CACHE",
        data=f"MatQuant models of benchmarks.matquant_encoder; {PAIRS} pairs of STS-B test",
    )  # fmt: skip


def along(points: list[tuple[int, float]], bits: float) -> float:
    """The straight line between neighbouring points, at `bits`."""
    return float(np.interp(bits, [one for one, _ in points], [value for _, value in points]))


if __name__ == "__main__":
    main()
