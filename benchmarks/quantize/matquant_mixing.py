"""
Mix'n'Match on all-MiniLM-L6-v2 and on a small Llama: a width per block, by pattern and by measured sensitivity.

    python -m benchmarks.quantize.matquant_encoder --data DATA_DIR --cache CACHE     # first: it keeps the models
    python -m benchmarks.quantize.matquant_mixing --on encoder --data DATA_DIR --cache CACHE  # minutes of one free core
    python -m benchmarks.quantize.matquant_lm --data DATA_DIR --cache CACHE          # likewise
    python -m benchmarks.quantize.matquant_mixing --on lm --data DATA_DIR --cache CACHE

The MatQuant models of these benchmarks are cut at mixed widths and measured on held-out data, beside one width for all
blocks. Sensitivity is measured on the validation part that chose the rates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.files import read_json, write_json
from anysize.core.verbs.load import load
from anysize.quantize.model.mixing import average_bits, by_pattern, by_sensitivity, sensitivity
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.quantize import matquant_encoder, matquant_lm
from benchmarks.quantize.matquant_arms import Bench, Runs
from benchmarks.quantize.matquant_encoder import similarity, some_pairs
from benchmarks.quantize.small_lm import corpus

PATTERNS = ("pyramid", "reverse", "increasing", "decreasing")
AVERAGES = {(2, 4): (8 / 3, 10 / 3), (2, 4, 8): (4.0,)}
"""Widths to mix -> mean widths to reach."""
UNIFORM = (2, 3, 4, 6, 8)
PAIRS = 300


def key(levels: tuple[int, ...], average: float) -> str:
    """How a mixture is called in the row."""
    return f"{'/'.join(map(str, levels))} at {average:.2f} bits"


@dataclass(frozen=True)
class Subject:
    """What is mixed, and how well a mixture does."""

    name: str
    what: str
    """How a claim calls it."""
    benches: list[Bench]
    quality: Callable[[Any], float]
    """Of a view, on held-out data; more is better."""
    metric: str
    first: str
    """The command that makes the models."""
    data: str


def encoder(folder: Path, cache: Path) -> Subject:
    """The sentence encoder's feed-forward layers."""
    pairs = some_pairs(folder / "stsb/test.tsv", PAIRS)
    return Subject(
        "encoder",
        "a sentence encoder (feed-forward layers",
        matquant_encoder.benches(folder, 1)[:1],
        lambda view: similarity(view, pairs),
        f"Spearman on {PAIRS} pairs of STS-B test",
        "python -m benchmarks.quantize.matquant_encoder --data DATA_DIR --cache CACHE",
        f"MatQuant models of benchmarks.quantize.matquant_encoder; {PAIRS} pairs of STS-B test",
    )


def language_model(folder: Path, cache: Path) -> Subject:
    """All linear layers of the small Llama's blocks, from quantisation-aware training."""
    texts = corpus(folder, cache)
    return Subject(
        "lm",
        "a small language model (all linear layers of its blocks",
        matquant_lm.benches(folder, cache, texts, 1, 1, 1)[:1],
        lambda view: -float(view.loss(texts.test)),
        "log-likelihood of held-out text in nats per token",
        "python -m benchmarks.quantize.matquant_lm --data DATA_DIR --cache CACHE",
        "MatQuant models of benchmarks.quantize.matquant_lm; 128 windows of 128 tokens of novels and WikiText",
    )


SUBJECTS = {"encoder": encoder, "lm": language_model}


def frontier(model: Any, subject: Subject, bench: Bench) -> dict[str, dict[str, dict[str, float]]]:
    """Figure -> arm -> mixture -> value, for one model."""
    costs = sensitivity(model, bench.valid)
    found: dict[str, dict[str, dict[str, float]]] = {"quality": {}, "mean bits": {}, "megabytes": {}}

    def note(arm: str, name: str, view: Any) -> None:
        for figure, value in (
            ("quality", subject.quality(view)),
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
    parser = arguments(__doc__, "data", "cache", seeds=3)
    parser.add_argument("--on", choices=tuple(SUBJECTS), required=True)
    args = parser.parse_args()
    runs = Runs(args.cache, math.inf)
    subject = SUBJECTS[args.on](args.data, args.cache)
    (bench,) = subject.benches
    for arm in ("matquant", "matquant, symmetric"):
        each = []
        for seed in range(args.seeds):
            kept, folder = runs.file("mixing", bench.name, arm, seed), runs.model(bench, arm, seed)
            if not kept.exists() and folder.exists():
                write_json(kept, frontier(load(folder), subject, bench))
                print(kept, flush=True)
            if kept.exists():
                each.append(read_json(kept, "finished mixtures"))
        if each:
            report(subject, arm.partition(", ")[2], each)


def report(subject: Subject, scheme: str, each: list[Any]) -> None:
    """Which pattern is best, and whether mixtures stand above one width for all."""
    values = {
        figure: {arm: {name: [one[figure][arm][name] for one in each] for name in names} for arm, names in arms.items()}
        for figure, arms in each[0].items()
    }
    quality = values["quality"]
    mixtures = [key(levels, average) for levels, averages in AVERAGES.items() for average in averages]
    mean = {arm: float(np.mean([quality[arm][name] for name in mixtures])) for arm in quality if arm != "one width"}
    best = max(PATTERNS, key=lambda arm: mean[arm])
    first = [
        name
        for name in mixtures
        if all(np.mean(quality["pyramid"][name]) >= np.mean(quality[a][name]) for a in PATTERNS)
    ]
    uniform = [(bits, float(np.mean(quality["one width"][f"{bits} bits"]))) for bits in UNIFORM]
    trained = [point for point in uniform if point[0] in (2, 4, 8)]
    above = [
        f"{arm} {name}"
        for arm, name in itertools.product(mean, mixtures)
        if np.mean(quality[arm][name]) > along(trained, float(np.mean(values["mean bits"][arm][name])))
    ]
    codes = f"{scheme or 'asymmetric'} codes"
    write_row(
        f"matquant-mixing{scheme and '-symmetric'}-{subject.name}",
        paper="Matryoshka Quantization, arXiv 2502.06786",
        claim=f"Of four patterns of widths over the blocks of {subject.what}, {codes}) the pyramid, narrow at "
        "both ends, is best on average over mean widths",
        reported="Gemma-2 and Mistral: the pyramid wins consistently",
        arms=list(quality),
        metric=f"{subject.metric} (quality); mean width of the quantised weights; megabytes read",
        values=values,
        outcome="won" if best == "pyramid" else "lost",
        note=f"The best pattern is {best} (seeds: {len(each)}). Mean over mixtures: "
        f"{', '.join(f'{arm} {value:.3f}' for arm, value in mean.items())}; "
        f"the pyramid is first of the patterns at {len(first)} of {len(mixtures)}. One width for all: "
        f"{', '.join(f'{value:.3f} at {bits} bits' for bits, value in uniform)}. Mixtures above the line through the "
        f"trained widths 2, 4 and 8: {len(above)} of {len(mean) * len(mixtures)} ({'; '.join(above) or 'none'}).",
        command=f"{subject.first} && "
        f"python -m benchmarks.quantize.matquant_mixing --on {subject.name} --data DATA_DIR --cache CACHE",
        data=subject.data,
    )  # fmt: skip


def along(points: list[tuple[int, float]], bits: float) -> float:
    """The straight line between neighbouring points, at `bits`."""
    return float(np.interp(bits, [one for one, _ in points], [value for _, value in points]))


if __name__ == "__main__":
    main()
