"""
Claim of the Matryoshka SAE: its prefixes beat a sorted and cut dictionary, and are near dictionaries trained at a size.

    python -m benchmarks.sparse.matryoshka_prefixes --data DATA_DIR --cache CACHE_DIR [--on images]  # about 5 minutes

Read twice: with the full size's threshold, under which a prefix has fewer active latents than the whole, and with the
number of active latents matched, every threshold set on the same rows, which no arm learnt from. DATA_DIR holds what
`benchmarks.sparse.samples.texts`, `sparse_images` or `sparse_residuals` read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from anysize.sparse import BatchTopK, MatryoshkaSAE, SparseAutoencoder, calibrate, fit_together, reconstruction
from anysize.sparse.methods.rivals import sorted_by_energy
from benchmarks.common import per_seed
from benchmarks.evidence import write_row
from benchmarks.sparse.matryoshka_sae import PAPER
from benchmarks.sparse.samples.kinds import sample
from benchmarks.sparse.samples.sample import Sample, command, named, parser

ACTIVE, BATCH, RATE = 32, 512, 1e-3
NESTED, FIXED, SORTED, ALONE = "Matryoshka", "BatchTopK, as it is", "BatchTopK, sorted", "BatchTopK, alone"


@dataclass(frozen=True)
class Plan:
    """What is trained on rows of a kind."""

    prefixes: tuple[int, ...]
    steps: int


PLANS = {
    "texts": Plan((64, 128, 256, 512, 1024), 500),
    "images": Plan((64, 128, 256, 512, 1024), 500),
    "residuals": Plan((64, 128, 256, 512, 1024), 500),
}


def one_seed(seed: int, rows: Sample, plan: Plan) -> dict[str, dict[str, float]]:
    """FVU and L0 of every arm at every prefix, by both readings."""
    same: dict[str, Any] = {
        "steps": plan.steps, "batch_size": BATCH, "learning_rate": RATE, "seed": seed, "active": (ACTIVE,),
    }  # fmt: skip
    methods = [MatryoshkaSAE(latents=plan.prefixes, **same), BatchTopK(latents=plan.prefixes, **same)]
    methods += [BatchTopK(latents=(size,), **same) for size in plan.prefixes[:-1]]
    nested, fixed, *alone = fit_together(methods, rows.data())
    ordered = sorted_by_energy(fixed, rows.train)
    unseen = torch.from_numpy(rows.unseen)
    figures: dict[str, dict[str, float]] = {}

    def note(reading: str, arm: str, sae: SparseAutoencoder, size: int) -> None:
        found = reconstruction(sae, rows.held_out)
        figures.setdefault(f"FVU{reading}", {})[f"{arm}|{size}"] = found.fvu
        figures.setdefault(f"L0{reading}", {})[f"{arm}|{size}"] = found.l0

    for size, single in zip(plan.prefixes, [*alone, fixed], strict=True):
        for arm, sae in {NESTED: nested, FIXED: fixed, SORTED: ordered}.items():
            note("", arm, sae.at(latents=size), size)
            note(", L0 matched", arm, calibrate(sae.extract(latents=size), unseen, ACTIVE), size)
        for reading in ("", ", L0 matched"):  # fitting set its threshold on these very rows
            note(reading, ALONE, single.at(), size)
    return figures


def main() -> None:
    """Run what is not finished, write the row."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    rows, plan = sample(options.on, options.data, options.cache), PLANS[options.on]
    file = named("matryoshka-prefixes", options.on)
    row(
        per_seed(options.cache, file, range(options.seeds), one_seed, rows, plan),
        options.on,
        rows,
    )


def row(seeds: list[dict[str, dict[str, float]]], on: str, rows: Sample) -> None:
    """How the arms compare."""
    plan = PLANS[on]
    values: dict[str, Any] = {}
    for figure, cells in seeds[0].items():
        for cell in cells:
            arm, _, size = cell.partition("|")
            values.setdefault(figure, {}).setdefault(arm, {})[size] = [seed[figure][cell] for seed in seeds]

    def ratios(figure: str, arm: str, sizes: tuple[int, ...]) -> list[float]:
        of = values[figure]
        return [float(np.mean(of[NESTED][str(size)]) / np.mean(of[arm][str(size)])) for size in sizes]

    inner, whole = plan.prefixes[:-1], plan.prefixes[-1:]
    own, matched = "FVU", "FVU, L0 matched"
    below = all(
        max(values[figure][NESTED][str(size)]) < min(values[figure][SORTED][str(size)])
        for figure in (own, matched)
        for size in inner
    )
    full = ratios(own, FIXED, whole)[0]
    alone = ratios(matched, ALONE, inner)
    l0 = [np.mean(value) for arm in (NESTED, ALONE) for value in values["L0, L0 matched"][arm].values()]
    write_row(
        named("matryoshka-sae-prefixes", on),
        paper=PAPER,
        claim=f"On {rows.what}, a nested dictionary's prefix beats a sorted and cut BatchTopK one and is near one "
        "trained at its size",
        reported="reconstruction slightly worse at equal L0 at full width; no comparison with sorted latents",
        arms=list(values[own]),
        metric=f"FVU (1 - explained variance) on {rows.held:,} held-out {rows.what}, lower is better; active latents",
        values=values,
        outcome="won" if below and full < 1.1 and max(alone) < 1.15 else "mixed" if below else "lost",
        note=f"Prefixes have {_range(ratios(own, SORTED, inner))} of the sorted BatchTopK's FVU under the full size's "
        f"threshold, {_range(ratios(matched, SORTED, inner))} with L0 matched. Against one trained at that size alone, "
        f"L0 matched, the ratio is {_range(alone)}, {alone[0]:.2f} at the smallest prefix; the goal was 1.15. At full "
        f"width nesting costs a factor of {full:.3f}. With the full size's threshold a prefix has fewer active latents "
        f"than the whole (see L0), which is why both readings are given; matched, L0 is {min(l0):.1f} to {max(l0):.1f} "
        "for nested and alone, every threshold set on the same rows (where it is lower, no more are above zero).",
        command=command("matryoshka_prefixes", on),
        data=f"{rows.about}; {plan.steps} steps of {BATCH} rows, {whole[0]:,} latents, {ACTIVE} active",
    )


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


if __name__ == "__main__":
    main()
