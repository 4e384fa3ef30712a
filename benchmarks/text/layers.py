"""
Encoders nested in depth and width: 2DMSE and Starbucks against MRL alone, plain fine-tuning, and one-size twins.

    python -m benchmarks.text.layers --data DATA_DIR --cache CACHE      # about two hours of one core for three seeds

Every arm tunes all-MiniLM-L6-v2 on the same SNLI triplets in the same order, for the same number of steps at the same
rate, and is measured by Spearman's correlation on STS-B and SICK at every layer and width (their mean).
Finished arms are kept in --cache, so that a stopped run continues; rows are written once an arm's seeds are complete.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anysize.backbones.sentence import supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Table
from anysize.core.files import write_json
from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.similarity import similarity_metrics
from anysize.text import NestedEncoder, Starbucks, TwoDMSE
from benchmarks.common import arguments, kept, shown
from benchmarks.evidence import write_row

MODEL = "all-MiniLM-L6-v2"
LAYERS, DIMS = (1, 2, 3, 4, 5, 6), (24, 48, 96, 192, 384)
MENU = ((1, 24), (2, 48), (3, 96), (4, 192), (6, 384))
SMALL = MENU[:-1]
BATCH = 32


def triplets(folder: Path) -> Data:
    """(premise, what follows, what contradicts) from SNLI's development and test parts."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for part in ("train", "eval"):
        for line in gzip.decompress((folder / f"snli_devtest/{part}.jsonl.gz").read_bytes()).splitlines():
            row = json.loads(line)
            found[row["premise"]][row["label"]].append(row["hypothesis"])
    rows = [
        (premise, follows, against)
        for premise, labels in found.items()
        for follows, against in zip(labels["entailment"], labels["contradiction"], strict=False)
    ]
    anchors, positives, negatives = (list(column) for column in zip(*rows, strict=True))
    return Data("snli", "snli", table=Table({"anchor": anchors, "positive": positives, "negative": negatives}))


def method(arm: str, seed: int, epochs: float) -> Any:
    """The method of an arm; ``depth 3`` is trained at full width of layer 3, ``true 3:96`` at that size alone."""
    shared: dict[str, Any] = {
        "model": MODEL, "seed": seed, "epochs": epochs, "batch_size": BATCH, "max_length": 64, "bf16": supports_bf16()
    }  # fmt: skip
    kind, _, size = arm.partition(" ")
    menu = tuple(f"{layers}:{dims}" for layers, dims in MENU)
    if kind == "2dmse":
        return TwoDMSE(**shared, layers=LAYERS, dims=DIMS)
    if kind == "2dmse-all":
        return TwoDMSE(**shared, layers=LAYERS, dims=DIMS, layers_per_step=-1, dims_per_step=-1)
    if kind == "starbucks":
        return Starbucks(**shared, sizes=menu, kl_weight=0.0 if size == "without-kl" else 1.0)
    if kind == "mrl":
        return Starbucks(**shared, layers=(6,), dims=DIMS, kl_weight=0.0)
    sizes = {"plain": "6:384", "depth": f"{size}:384", "true": size}[kind]
    return Starbucks(**shared, sizes=(sizes,))


def measure(model: NestedEncoder, tasks: dict[str, Data], dims: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Task -> "layers:dims" -> Spearman's correlation of cosines, for every depth of the model and each of `dims`."""
    depths = tuple(range(1, model.encoder.depth + 1))
    grid = NestedEncoder(Nesting(layers=depths, dims=dims), model.encoder)
    scores: dict[str, dict[str, float]] = {}
    for name, data in tasks.items():
        assert data.scored is not None
        texts = list(dict.fromkeys([*data.scored["sentence1"], *data.scored["sentence2"]]))
        place = {text: row for row, text in enumerate(texts)}
        features = grid.features(texts, bf16=supports_bf16())
        left, right = (
            [place[text] for text in column] for column in (data.scored["sentence1"], data.scored["sentence2"])
        )
        scores[name] = {}
        for size in grid.nesting:
            z = grid.at(size).project(features)
            found = similarity_metrics(z[left], z[right], data.scored["score"])
            scores[name][f"{size.layers}:{size.dims}"] = found["spearman_cosine"]
    return scores


def main() -> None:
    """Run what is missing, then write the rows whose arms are complete."""
    parser = arguments(__doc__, "data", "cache", seeds=3, steps=200)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    data = triplets(args.data)
    assert data.pairs is not None
    rows = len(data.training_pairs() or ())
    tasks = {
        "stsb": read(args.data / "stsb/test.tsv"),
        "sick": read(args.data / "sick/test.tsv"),
    }
    first = ["2dmse", "mrl", "starbucks", "plain", *(f"true {layers}:{dims}" for layers, dims in SMALL)]
    later = ["starbucks without-kl", "2dmse-all", *(f"depth {layers}" for layers, _ in SMALL)]
    untouched = partial(NestedEncoder.from_pretrained, MODEL, layers=LAYERS, dims=DIMS)
    kept(args.cache / "untouched.json", lambda: measure(untouched(), tasks, DIMS))
    for arms in (first, later):
        for seed in range(args.seeds):
            for arm in arms:
                file = args.cache / f"{arm.replace(' ', '-').replace(':', '-')}-{seed}.json"
                if file.exists():
                    continue
                model = method(arm, seed, args.steps * BATCH / rows).fit(data)
                dims = tuple(dim for dim in DIMS if not arm.startswith("true") or dim <= model.nesting.full.dims)
                write_json(file, measure(model, tasks, dims))
                print(seed, arm, {cell: round(value, 3) for cell, value in mean(file).items()}, flush=True)
        write(args, first if arms is first else first + later, rows)


def mean(file: Path) -> dict[str, float]:
    """Cell -> mean over the tasks."""
    by_task = json.loads(file.read_text("utf-8"))
    cells = next(iter(by_task.values()))
    return {cell: float(np.mean([found[cell] for found in by_task.values()])) for cell in cells}


def write(args: argparse.Namespace, arms: list[str], rows: int) -> None:
    """Both rows of evidence, from the kept arms."""
    values = {
        arm: [mean(args.cache / f"{arm.replace(' ', '-').replace(':', '-')}-{seed}.json") for seed in range(args.seeds)]
        for arm in arms
    }
    untouched = mean(args.cache / "untouched.json")
    by_cell = {
        arm: {cell: [run[cell] for run in runs] for cell in runs[0]}
        for arm, runs in values.items()
        if not arm.startswith(("true", "depth"))
    }
    for kind in ("true", "depth"):
        by_cell[kind] = {
            f"{layers}:{dims}": [run[f"{layers}:{dims}"] for run in values[name]]
            for layers, dims in SMALL
            if (name := f"true {layers}:{dims}" if kind == "true" else f"depth {layers}") in values
        }
    by_cell["untouched"] = {cell: [value] for cell, value in untouched.items()}
    shared = {
        "metric": "Spearman's correlation of cosines, mean of STS-B and SICK (test parts)",
        "command": "python -m benchmarks.text.layers --data DATA_DIR --cache CACHE",
        "data": f"SNLI's development and test parts: {rows} triplets, {args.steps} steps of {BATCH}",
    }
    write_2dmse(by_cell, shared)
    write_starbucks(by_cell, shared)


def gaps(values: dict, arm: str, other: str, cells: list[str]) -> list[float]:
    """Mean over `cells` of one arm minus another, seed by seed."""
    return [
        float(np.mean([values[arm][cell][seed] - values[other][cell][seed] for cell in cells]))
        for seed in range(len(values[arm][cells[0]]))
    ]


def write_2dmse(values: dict, shared: dict) -> None:
    """Claim: 2DMSE is far better than MRL alone at small depths, and about as good as plain tuning at full size."""
    small = {cell: gaps(values, "2dmse", "mrl", [cell]) for cell in ("3:48", "2:24")}
    full = gaps(values, "2dmse", "plain", ["6:384"])
    better = all(gap >= 0.05 for found in small.values() for gap in found)
    kept = all(gap >= -0.02 for gap in full)
    kept_arms = {arm: values[arm] for arm in ("2dmse", "2dmse-all", "mrl", "plain", "untouched") if arm in values}
    everything = ""
    if "2dmse-all" in values:
        all_gap = gaps(values, "2dmse-all", "2dmse", [f"{n}:{d}" for n in LAYERS[:-1] for d in DIMS[:-1]])
        everything = f" All layers and widths at every step against one of each: {shown(all_gap)} over smaller cells."
    write_row(
        "2dmse-grid",
        paper="2D Matryoshka Sentence Embeddings, arXiv 2402.14776",
        claim="2DMSE is at least 0.05 above MRL alone at 3 layers x 48 and 2 layers x 24 on every seed, and within "
        "0.02 of plain fine-tuning at full size",
        reported="BERT-base on AllNLI (reproduction, arXiv 2411.17299): 5 to 12 points above MRL alone below the last "
        "layer, 1.3 to 1.5 points below plain tuning at full size",
        arms=list(kept_arms),
        values=kept_arms,
        outcome="won" if better and kept else "mixed" if better or kept else "lost",
        note="2DMSE minus MRL alone: "
        + "; ".join(f"{cell} {shown(found)}" for cell, found in small.items())
        + f". Minus plain tuning at full size: {shown(full)}.{everything}",
        **shared,
    )


def write_starbucks(values: dict, shared: dict) -> None:
    """Claim: the fixed menu beats a fair 2DMSE at the small sizes; how far from models trained for each size."""
    cells = [f"{layers}:{dims}" for layers, dims in SMALL]
    ahead = gaps(values, "starbucks", "2dmse", cells)
    kinds = {"true": "trained at that layer and width", "depth": "trained at that layer and full width"}
    beside = {kind: {cell: gaps(values, "starbucks", kind, [cell]) for cell in values[kind]} for kind in kinds}
    told = "; ".join(
        f"minus a model {kinds[kind]}: " + ", ".join(f"{cell} {shown(found)}" for cell, found in by_size.items())
        for kind, by_size in beside.items()
        if by_size
    )
    pull = ""
    if "starbucks without-kl" in values:
        pull = f" The pull to the largest size adds {shown(gaps(values, 'starbucks', 'starbucks without-kl', cells))}."
    arms = ("starbucks", "starbucks without-kl", "2dmse", "true", "depth", "plain", "untouched")
    kept = {arm: values[arm] for arm in arms if values.get(arm)}
    write_row(
        "starbucks-menu",
        paper="Starbucks, arXiv 2410.13230",
        claim="At the small sizes of its menu Starbucks is better on average than 2DMSE (uniform, detached, full width "
        "always trained) on every seed",
        reported="BERT-base on AllNLI, seven STS sets: +3.7 to +4.5 points over 2DMSE as sentence-transformers had it, "
        "about equal to models trained for each depth",
        arms=list(kept),
        values=kept,
        outcome="won" if min(ahead) > 0 else "lost" if max(ahead) < 0 else "mixed",
        note=f"Starbucks minus 2DMSE over {', '.join(cells)}: {shown(ahead)}. {told}. At full size, minus plain "
        f"tuning: {shown(gaps(values, 'starbucks', 'plain', ['6:384']))}.{pull}",
        **shared,
    )


if __name__ == "__main__":
    main()
