"""
Progressive recovery of MSAE: reconstruction from the k strongest latents of a full code, for every k.

Levels weighted alike (UW) and in reverse (RW), beside TopK at equal steps and at equal compute, and ReLU with an L1
penalty that leaves as many zeros. Each arm takes the better of two learning rates by the first seed, on rows that no
arm learns from and that are not measured on. On images also what a linear classifier says of the reconstructions.

    python -m benchmarks.sparse.msae --data DATA_DIR --cache CACHE_DIR [--on images]      # about 10 minutes on one core

DATA_DIR holds what `benchmarks.sparse.samples.texts`, `sparse_images` or `sparse_residuals` read.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.sizes.nesting import Nesting
from anysize.sparse import MSAE, ReLU, SparseAutoencoder, TopK
from anysize.sparse.autoencoder.decoding import decode_ranks
from anysize.sparse.measuring.errors_of_rows import fvu
from anysize.sparse.measuring.probing import fit_probe, preserved
from benchmarks.common import kept, per_seed
from benchmarks.sparse.msae_rows import L1, LONGER, RW, TOPK, UW, K, write_probe, write_recovery
from benchmarks.sparse.samples.kinds import sample
from benchmarks.sparse.samples.sample import Sample, named, parser

BATCH, RATES, PENALTIES = 256, (1e-3, 3e-3), (0.0003, 0.001, 0.003, 0.01)


@dataclass(frozen=True)
class Plan:
    """What is trained on rows of a kind."""

    levels: tuple[int, ...]
    """Trained by MSAE, and at which all are measured; the last one is all latents."""
    steps: int


PLANS = {
    "texts": Plan((16, 32, 64, 128, 256, 512), 300),
    "images": Plan((16, 32, 64, 128, 256, 512, 1024), 400),
    "residuals": Plan((16, 32, 64, 128, 256, 512, 1024), 400),
}


def rebuilt(sae: SparseAutoencoder, x: np.ndarray, levels: tuple[int, ...]) -> tuple[torch.Tensor, float]:
    """What the k strongest positive latents of the whole code make of x, (levels, n, d); how many are positive."""
    full = SparseAutoencoder(Nesting(latents=levels[-1:]), sae.width, activation="relu")
    full.load_state_dict(sae.state_dict())
    full.threshold.zero_()
    full.requires_grad_(False)
    made, positive = [], 0
    for part in torch.from_numpy(x).split(500):
        codes = full.encode(part)
        positive += len(codes.indices)
        made.append((decode_ranks(codes, full.W_dec, levels) + full.b_dec) / full.scale + full.mean)
    return torch.cat(made, 1), positive / len(x)


def recovery(sae: SparseAutoencoder, x: np.ndarray, levels: tuple[int, ...]) -> dict[str, Any]:
    """FVU at every k."""
    made, positive = rebuilt(sae, x, levels)
    return {"FVU": {str(k): fvu(x, one) for k, one in zip(levels, made, strict=True)}, "positive": positive}


def methods(plan: Plan, seed: int, steps: int | None = None) -> dict[str, Any]:
    """What each arm is, but for its learning rate."""
    same: dict[str, Any] = {
        "batch_size": BATCH, "seed": seed, "latents": plan.levels[-1:], "steps": steps or plan.steps,
    }  # fmt: skip
    return {
        UW: lambda rate: MSAE(active=plan.levels, learning_rate=rate, **same),
        RW: lambda rate: MSAE(active=plan.levels, weighting="reverse", learning_rate=rate, **same),
        TOPK: lambda rate: TopK(active=(K,), learning_rate=rate, **same),
        L1: lambda rate, penalty: ReLU(l1=penalty, learning_rate=rate, **same),
    }


def chosen(rows: Sample, plan: Plan) -> dict[str, Any]:
    """
    The options of each arm, by its mean FVU over k on `rows.unseen`.

    The penalty is that whose codes have, in ratio, the most nearly as many positive latents as MSAE's.
    """
    data, found = rows.data(), {}

    def tried(name: str, *options: float) -> tuple[float, float]:
        said = recovery(methods(plan, 0)[name](*options).fit(data), rows.unseen, plan.levels)
        mean = float(np.mean(list(said["FVU"].values())))
        print("trying", name, options, f"{mean:.4f}, {said['positive']:.0f} positive", flush=True)
        return mean, said["positive"]

    for name in (UW, RW, TOPK):
        results = {rate: tried(name, rate) for rate in RATES}
        best = min(results, key=lambda rate: results[rate][0])
        found[name] = [best]
        if name == UW:
            wanted = results[best][1]
    rate = found[TOPK][0]
    each = {penalty: tried(L1, rate, penalty)[1] for penalty in PENALTIES}
    near = min(each, key=lambda one: abs(math.log(max(each[one], 1e-9) / wanted)))
    results = {rate: tried(L1, rate, near) for rate in RATES}
    found[L1] = [min(results, key=lambda one: results[one][0]), near]
    found[LONGER] = found[TOPK]
    return found


def one_seed(seed: int, rows: Sample, plan: Plan, options: dict[str, Any]) -> dict[str, Any]:
    """All arms of one seed, and the processor seconds of each."""
    data, found = rows.data(), {}
    probe = None
    if rows.classes is not None:
        known = _pictured(rows.classes[: -rows.held])
        probe = fit_probe(rows.train[known], rows.classes[: -rows.held][known], seed=seed)
        seen = _pictured(rows.classes[-rows.held :])

    def arm(name: str, method: Any) -> None:
        start = time.process_time()
        sae = method.fit(data)
        seconds = time.process_time() - start
        found[name] = {**recovery(sae, rows.held_out, plan.levels), "seconds": seconds, "steps": method.steps}
        print(seed, name, found[name], flush=True)
        if probe is not None and rows.classes is not None:
            made, _ = rebuilt(sae, rows.held_out[seen], plan.levels)
            labels = rows.classes[-rows.held :][seen]
            found[name]["probe"] = {
                str(k): asdict(preserved(probe, rows.held_out[seen], one, labels))
                for k, one in zip(plan.levels, made, strict=True)
            }

    arms = methods(plan, seed)
    for name in (UW, RW, TOPK):
        arm(name, arms[name](*options[name]))
    more = math.ceil(plan.steps * found[UW]["seconds"] / found[TOPK]["seconds"])
    arm(LONGER, methods(plan, seed, more)[TOPK](*options[LONGER]))
    arm(L1, arms[L1](*options[L1]))
    return found


def _pictured(classes: np.ndarray) -> np.ndarray:
    """Which rows are pictures of CIFAR-10, whose ten classes are told apart."""
    return np.char.startswith(classes, "CIFAR")


def main() -> None:
    """Run what is not finished, write the rows."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    cache: Path = options.cache
    rows, plan = sample(options.on, options.data, cache), PLANS[options.on]
    file = named("msae-recovery", options.on)
    best = kept(cache / f"{file}-options.json", chosen, rows, plan)
    seeds = per_seed(cache, file, range(options.seeds), one_seed, rows, plan, best)
    data = (
        f"{rows.about}; {plan.steps} steps of {BATCH} rows (equal compute: more), {plan.levels[-1]} latents, levels "
        f"{', '.join(map(str, plan.levels))}"
    )
    write_recovery(seeds, options.on, rows, best, data)
    if rows.classes is not None:
        write_probe(seeds, options.on, data)


if __name__ == "__main__":
    main()
