"""
Claim of MSAE on images: what a latent fires on most is of one kind, more often than for the network's own units.

There are no names to be had for features that no text encoder shares, so the kinds of pictures stand in: of the ten
training pictures on which a latent fires most (among each picture's 32 strongest latents), the share of the commonest
class. Classes are the ten of CIFAR-10 and the ten of Fashion-MNIST; a photo from elsewhere counts as none.

    python -m benchmarks.sparse.msae_purity --data DATA_DIR --cache CACHE_DIR      # about 10 minutes on one core

DATA_DIR holds what `benchmarks.sparse.samples.images` reads.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import scipy.sparse
import torch

from benchmarks.common import per_seed
from benchmarks.evidence import write_row
from benchmarks.sparse.msae_concepts import ACTIVE, BATCH, LATENTS, fits
from benchmarks.sparse.msae_rows import PAPER
from benchmarks.sparse.samples.kinds import sample
from benchmarks.sparse.samples.sample import Sample, command, parser

STEPS, TOP, PURE = 300, 10, 0.9
MSAE, TOPK, UNITS, CHANCE = "MSAE", "TopK", "the network's own units", "random pictures"


def purity(top: np.ndarray, classes: np.ndarray) -> float:
    """The share of the commonest class among the pictures of these rows."""
    counts = Counter(name for name in classes[top] if name)
    return max(counts.values(), default=0) / len(top)


def strongest(codes: Any) -> dict[int, np.ndarray]:
    """For each column that is active in ten rows or more: its ten strongest rows, highest first."""
    columns = scipy.sparse.csc_matrix(codes)
    found = {}
    for latent in range(columns.shape[1]):
        span = slice(columns.indptr[latent], columns.indptr[latent + 1])
        if span.stop - span.start >= TOP:
            found[latent] = columns.indices[span][np.argsort(-columns.data[span])[:TOP]]
    return found


def one_seed(seed: int, rows: Sample) -> dict[str, Any]:
    """Purity of every latent's ten pictures; of MSAE also ten latents."""
    assert rows.classes is not None
    classes = rows.classes[: -rows.held]
    rng = np.random.default_rng(seed)
    tops = {
        arm: strongest(sae.encode(rows.train).strongest(ACTIVE).to_scipy())
        for arm, sae in zip((MSAE, TOPK), fits(seed, rows.data(), STEPS), strict=True)
    }
    tops[UNITS] = strongest(rows.train)
    tops[CHANCE] = {place: rng.choice(len(classes), TOP, replace=False) for place in range(LATENTS)}
    found: dict[str, Any] = {}
    for arm, held in tops.items():
        each = np.array([purity(top, classes) for top in held.values()])
        found[arm] = {"mean": float(each.mean()), "pure": float((each >= PURE).mean()), "latents": len(each)}
    drawn = rng.permutation(sorted(tops[MSAE]))[:10]
    found["shown"] = {
        f"latent {latent}": ", ".join(
            f"{name} {count}" for name, count in Counter(rows.names[row] for row in tops[MSAE][latent]).most_common()
        )
        for latent in drawn
    }
    return found


def main() -> None:
    """Measure what is not measured and write the row."""
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    rows = sample("images", options.data, options.cache)
    seeds = per_seed(options.cache, "msae-purity", range(options.seeds), one_seed, rows)
    row(seeds, rows)


def row(seeds: list[dict[str, Any]], rows: Sample) -> None:
    """What was found."""
    arms = (MSAE, TOPK, UNITS, CHANCE)
    values = {
        name: {arm: [seed[arm][key] for seed in seeds] for arm in arms}
        for name, key in (("mean share", "mean"), ("share of latents that are pure", "pure"), ("latents", "latents"))
    }
    mean = {arm: float(np.mean(values["mean share"][arm])) for arm in arms}
    pure = {arm: 100 * float(np.mean(values["share of latents that are pure"][arm])) for arm in arms}
    against = {arm: min(values["mean share"][MSAE]) > max(values["mean share"][arm]) for arm in (TOPK, UNITS, CHANCE)}
    write_row(
        "msae-purity",
        paper=PAPER,
        claim="What a latent of MSAE fires on most is of one kind, more often than for the network's own units and "
        "TopK's latents",
        reported="latents that stand for one concept, by their top images",
        arms=list(arms),
        metric="share of the commonest of 20 classes among the ten training pictures on which a latent fires most, "
        f"mean over the latents that fire on ten or more; share of them at {PURE} or above",
        values={**values, "ten latents of the first seed, drawn by lot": seeds[0]["shown"]},
        outcome="won" if all(against.values()) else "mixed" if against[UNITS] or against[TOPK] else "lost",
        note=f"Of the ten strongest pictures, {100 * mean[MSAE]:.0f} % are of one class for MSAE's latents, "
        f"{100 * mean[TOPK]:.0f} % for TopK's, {100 * mean[UNITS]:.0f} % for the network's own units, "
        f"{100 * mean[CHANCE]:.0f} % for pictures drawn by lot. Nine of ten are for {pure[MSAE]:.0f} %, "
        f"{pure[TOPK]:.0f} %, {pure[UNITS]:.0f} % and {pure[CHANCE]:.0f} % of the latents. A latent may well stand "
        "for what two classes share, which this counts against it.",
        command=command("msae_purity", "texts"),
        data=f"{rows.about}; {LATENTS:,} latents, {STEPS} steps of {BATCH} rows",
    )


if __name__ == "__main__":
    main()
