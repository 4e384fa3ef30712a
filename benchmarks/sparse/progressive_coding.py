"""
Claims of progressive coding: sorted and pruned vanilla autoencoders beside jointly nested ones, at equal training.

Orderings of a TopK and a BatchTopK autoencoder at every granularity, under both readings of "the first G", beside the
Matryoshka ones and those trained at G alone; the power law of importance against rivals; RSA; how alike the inputs are
that a latent fires on most. On residuals also the loss of the language model through the BatchTopK codes.

    # 20 minutes on one core
    python -m benchmarks.sparse.progressive_coding --data DATA_DIR --cache CACHE_DIR [--on images]

DATA_DIR holds what `benchmarks.sparse.samples.texts`, `sparse_images` or `sparse_residuals` read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from anysize.core.data.data import Data
from anysize.evaluation.nearest import unit
from anysize.sparse import BatchTopK, MatryoshkaSAE, SparseAutoencoder, TopK, fit_together
from anysize.sparse.pruning.granularity import Loss, granularity_curve
from anysize.sparse.pruning.importance import Measure, importance
from anysize.sparse.pruning.powerlaw import fit_power_law
from anysize.sparse.pruning.prune import prune, sort_by_importance
from benchmarks.common import per_seed
from benchmarks.sparse.progressive_rows import write_rows
from benchmarks.sparse.samples.kinds import sample
from benchmarks.sparse.samples.sample import Sample, named, parser

SIZES = (64, 128, 256, 512, 1024)
ACTIVE, RATE = 32, 1e-3
READINGS: tuple[Literal["mask", "reselect"], ...] = ("mask", "reselect")
MEASURES: tuple[Measure, ...] = ("frequency", "energy", "contribution", "greedy")
SCORED = 25_000
"""Rows of the training data, at most, that decide how important a latent is."""


@dataclass(frozen=True)
class Plan:
    """How long all train on rows of a kind."""

    steps: int
    batch: int


PLANS = {"texts": Plan(600, 512), "images": Plan(400, 256), "residuals": Plan(400, 256)}


def fits(seed: int, data: Data, plan: Plan) -> dict[str, Any]:
    """All autoencoders of one seed: the same rows, order of batches, steps and learning rate."""
    same: dict[str, Any] = {
        "steps": plan.steps, "batch_size": plan.batch, "learning_rate": RATE, "seed": seed, "active": (ACTIVE,),
    }  # fmt: skip
    methods = {
        "topk": TopK(latents=(SIZES[-1],), **same),
        "batchtopk": BatchTopK(latents=(SIZES[-1],), **same),
        "matryoshka topk": MatryoshkaSAE(latents=SIZES, codes="topk", **same),
        "matryoshka batchtopk": MatryoshkaSAE(latents=SIZES, codes="batchtopk", **same),
        **{f"topk alone {size}": TopK(latents=(size,), **same) for size in SIZES[:-1]},
    }
    return dict(zip(methods, fit_together(list(methods.values()), data), strict=True))


def seconds(seed: int, data: Data, plan: Plan) -> dict[str, float]:
    """CPU seconds of 100 steps of training, each alone."""
    same: dict[str, Any] = {
        "steps": 100,
        "batch_size": plan.batch,
        "learning_rate": RATE,
        "seed": seed,
        "active": (ACTIVE,),
    }
    found = {}
    for name, method in (
        ("batchtopk", BatchTopK(latents=(SIZES[-1],), **same)),
        ("matryoshka batchtopk", MatryoshkaSAE(latents=SIZES, **same)),
    ):
        begin = time.process_time()
        method.fit(data)
        found[name] = time.process_time() - begin
    return found


def curve(
    sae: SparseAutoencoder,
    held: np.ndarray,
    train: np.ndarray,
    reading: Literal["mask", "reselect"],
    *,
    rsa: bool = False,
    loss: Loss | None = None,
) -> dict[str, dict[int, float]]:
    """FVU and L0 by size, RSA where it is asked for, and how much of a language model's loss is recaptured."""
    some = train[:: max(1, len(train) // 4096)]
    rows = granularity_curve(
        sae, held, SIZES, reading=reading, calibrate_on=some, active=ACTIVE, rsa_rows=500 if rsa else 0, loss=loss
    )
    keys = ("fvu", "l0", *(["rsa"] if rsa else []), *(["recaptured"] if loss else []))
    return {key: {row.latents: getattr(row, key) for row in rows} for key in keys}


def likeness(sae: SparseAutoencoder, x: np.ndarray) -> dict[int, float]:
    """By band of latents: mean cosine of the 20 inputs that a latent fires on most, less that of random inputs."""
    codes = sae.encode(x).to_scipy().tocsc()
    rows = unit(x - x.mean(0))
    rng, found = np.random.default_rng(0), {}
    chance = [_pairs(rows[rng.choice(len(rows), 20, replace=False)]) for _ in range(500)]
    for low, high in zip((0, *SIZES), SIZES, strict=False):
        values = []
        for latent in range(low, high):
            entries = slice(codes.indptr[latent], codes.indptr[latent + 1])
            if entries.stop - entries.start >= 20:
                top = codes.indices[entries][np.argsort(-codes.data[entries])[:20]]
                values.append(_pairs(rows[top]))
        found[high] = float(np.mean(values) - np.mean(chance)) if values else 0.0
    return found


def _pairs(rows: np.ndarray) -> float:
    return float((np.square(rows.sum(0)).sum() - len(rows)) / (len(rows) * (len(rows) - 1)))


def measure(seed: int, rows: Sample, plan: Plan, loss: Loss | None) -> dict[str, Any]:
    """Everything of one seed, as JSON."""
    data, held = rows.data(), rows.held_out
    train = np.ascontiguousarray(rows.train[:: -(-len(rows.train) // SCORED)])
    made = fits(seed, data, plan)
    found: dict[str, Any] = {"mask": {}, "reselect": {}, "law": {}, "likeness": {}}
    found["seconds"] = seconds(seed, data, plan)
    if loss is not None:
        mean = torch.from_numpy(train.mean(0))
        found["losses"] = {
            "untouched": loss(lambda vectors: vectors),
            "set to zero": loss(torch.zeros_like),
            "set to the mean": loss(lambda vectors: mean.expand_as(vectors)),
        }
    for kind in ("topk", "batchtopk"):
        sae, through = made[kind], loss if kind == "batchtopk" else None
        scores: dict[str, torch.Tensor] = {by: importance(sae, train, by) for by in MEASURES}
        scores["random"] = torch.rand(sae.latents, generator=torch.Generator().manual_seed(seed)).double()
        found["law"][kind] = fit_power_law(scores["energy"].numpy()).to_json()
        for by, score in scores.items():
            ordered = sort_by_importance(sae, score).sae
            for reading in READINGS:
                found[reading][f"{kind}, {by}"] = curve(ordered, held, train, reading, rsa=by == "energy", loss=through)
        ordered = sort_by_importance(sae, scores["energy"]).sae
        found["reselect"][f"{kind}, energy and bias"] = refitted(ordered, held, train)
        for reading in READINGS:
            found[reading][f"matryoshka {kind}"] = curve(
                made[f"matryoshka {kind}"], held, train, reading, rsa=True, loss=through
            )
        found["likeness"][f"{kind}, energy"] = likeness(ordered, train)
        found["likeness"][f"matryoshka {kind}"] = likeness(made[f"matryoshka {kind}"], train)
    alone = [curve_at(made[f"topk alone {size}"], held, size) for size in SIZES[:-1]]
    alone.append(curve_at(made["topk"], held, SIZES[-1]))
    found["reselect"]["topk, trained alone"] = {
        key: {size: row[key] for size, row in zip(SIZES, alone, strict=True)} for key in alone[0]
    }
    return found


def curve_at(sae: SparseAutoencoder, held: np.ndarray, size: int) -> dict[str, float]:
    """One autoencoder at its own full size."""
    row = granularity_curve(sae, held, (size,), rsa_rows=0)[0]
    return {"fvu": row.fvu, "l0": row.l0}


def refitted(ordered: SparseAutoencoder, held: np.ndarray, train: np.ndarray) -> dict[str, dict[int, float]]:
    """Each prefix with the bias that suits it, as `prune` gives it."""
    found: dict[str, dict[int, float]] = {}
    for size in SIZES:
        scores = torch.arange(ordered.latents, 0, -1).double()
        small = prune(ordered, size, train, scores=scores, active=ACTIVE).sae
        for key, value in curve_at(small, held, size).items():
            found.setdefault(key, {})[size] = value
    return found


def main() -> None:
    """Measure what is not measured and write the rows."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    rows, plan, loss = sample(options.on, options.data, options.cache), PLANS[options.on], None
    if options.on == "residuals":
        from benchmarks.sparse.samples.residuals import lost

        loss = lost(options.data, options.cache)
    file = named("progressive", options.on)
    seeds = per_seed(options.cache, file, range(options.seeds), measure, rows, plan, loss)
    data = (
        f"{rows.about}; {SIZES[-1]:,} latents, {ACTIVE} active, {plan.steps} steps of {plan.batch} rows for every arm"
    )
    write_rows(seeds, options.on, rows.what, f"{data}; {len(seeds)} seeds")


if __name__ == "__main__":
    main()
