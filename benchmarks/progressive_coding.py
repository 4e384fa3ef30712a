"""
Claims of progressive coding: sorted and pruned vanilla autoencoders beside jointly nested ones, at equal training.

Orderings of a TopK and a BatchTopK autoencoder at every granularity, under both readings of "the first G", beside the
Matryoshka ones and those trained at G alone; the power law of importance against rivals; RSA; how alike the inputs are
that a latent fires on most.

    python -m benchmarks.progressive_coding --data DATA_DIR --cache CACHE_DIR     # about 20 minutes on one core

DATA_DIR holds multi30k/, ag_news/, banking77/ and npl/. Embeddings and finished seeds are kept in --cache.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.data import Data, Items
from anysize.core.files import write_json
from anysize.core.neighbours import unit
from anysize.sparse import BatchTopK, MatryoshkaSAE, SparseAutoencoder, TopK, fit_together
from anysize.sparse.granularity import granularity_curve
from anysize.sparse.powerlaw import fit_power_law
from anysize.sparse.pruning import prune, sort_by_importance
from anysize.sparse.scores import importance
from benchmarks.progressive_rows import write_rows
from benchmarks.sparse_texts import embedded, texts_of

SIZES = (64, 128, 256, 512, 1024)
ACTIVE, STEPS, BATCH, RATE = 32, 600, 512, 1e-3
MEASURES = ("frequency", "energy", "contribution", "greedy")


def fits(seed: int, data: Data) -> dict[str, Any]:
    """All autoencoders of one seed: the same rows, order of batches, steps and learning rate."""
    same = {"steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "seed": seed, "active": (ACTIVE,)}
    methods = {
        "topk": TopK(latents=(SIZES[-1],), **same),
        "batchtopk": BatchTopK(latents=(SIZES[-1],), **same),
        "matryoshka topk": MatryoshkaSAE(latents=SIZES, codes="topk", **same),
        "matryoshka batchtopk": MatryoshkaSAE(latents=SIZES, codes="batchtopk", **same),
        **{f"topk alone {size}": TopK(latents=(size,), **same) for size in SIZES[:-1]},
    }
    return dict(zip(methods, fit_together(list(methods.values()), data), strict=True))


def seconds(seed: int, data: Data) -> dict[str, float]:
    """CPU seconds of 200 steps of training, each alone."""
    same = {"steps": 100, "batch_size": BATCH, "learning_rate": RATE, "seed": seed, "active": (ACTIVE,)}
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
    sae: SparseAutoencoder, held: np.ndarray, train: np.ndarray, reading: str, *, rsa: bool = False
) -> dict[str, dict[int, float]]:
    """FVU and L0 by size, and RSA where it is asked for."""
    some = train[:: max(1, len(train) // 4096)]
    rows = granularity_curve(
        sae, held, SIZES, reading=reading, calibrate_on=some, active=ACTIVE, rsa_rows=500 if rsa else 0
    )
    return {key: {row.latents: getattr(row, key) for row in rows} for key in ("fvu", "l0", *(["rsa"] if rsa else []))}


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


def measure(seed: int, data: Data, train: np.ndarray, held: np.ndarray) -> dict[str, Any]:
    """Everything of one seed, as JSON."""
    made = fits(seed, data)
    found: dict[str, Any] = {"mask": {}, "reselect": {}, "law": {}, "likeness": {}, "seconds": seconds(seed, data)}
    for kind in ("topk", "batchtopk"):
        sae = made[kind]
        scores = {by: importance(sae, train, by) for by in MEASURES}
        scores["random"] = torch.rand(sae.latents, generator=torch.Generator().manual_seed(seed)).double()
        found["law"][kind] = fit_power_law(scores["energy"].numpy()).to_json()
        for by, score in scores.items():
            ordered = sort_by_importance(sae, score).sae
            for reading in ("mask", "reselect"):
                found[reading][f"{kind}, {by}"] = curve(ordered, held, train, reading, rsa=by == "energy")
        ordered = sort_by_importance(sae, scores["energy"]).sae
        found["reselect"][f"{kind}, energy and bias"] = refitted(ordered, held, train)
        for reading in ("mask", "reselect"):
            found[reading][f"matryoshka {kind}"] = curve(made[f"matryoshka {kind}"], held, train, reading, rsa=True)
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
    """Measure three seeds and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    texts = embedded(texts_of(options.data), options.cache, "texts")
    vectors = np.ascontiguousarray(texts.train)
    data = Data("texts", "texts", corpus=Items([str(row) for row in range(len(vectors))], vectors=vectors))
    seeds = []
    for seed in range(options.seeds):
        path = options.cache / f"progressive-{seed}.json"
        if not path.exists():
            begin = time.time()
            write_json(path, measure(seed, data, vectors, texts.held_out))
            print(f"seed {seed}: {time.time() - begin:.0f} s", flush=True)
        seeds.append(json.loads(path.read_text()))
    write_rows(seeds)


if __name__ == "__main__":
    main()
