"""
One nested book of beams beside the standard sweep, a greedy choice, a tree, and books for one length alone.

    python -m benchmarks.beams.books --cache CACHE      # about 6 minutes of one core for three seeds

Every figure is the mean over held-out links, of drops that nothing was learnt from, of the gain in dB below each link's
own best beam (its strongest eigenvector). Finished runs are kept in --cache, so that a stopped run continues.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.codebooks.dft import dft, wide
from anysize.beams.codebooks.gains import gains
from anysize.beams.codebooks.greedy import greedy
from anysize.beams.codebooks.model import NestedCodebook
from anysize.beams.codebooks.tree import TreeCodebook
from anysize.beams.fit import learn
from anysize.beams.measuring.rivals import OVERSAMPLING, levels
from anysize.beams.methods import Beams
from benchmarks.beams.links import DATA, SIZES, gap, learnt_and_held
from benchmarks.common import arguments, kept, per_seed, shown
from benchmarks.evidence import write_row
from benchmarks.timing import ratio, taking_turns

PAPER = "Massive MIMO Beam Management in Sub-6 GHz 5G NR, arXiv 2204.06064"
COMMAND = "python -m benchmarks.beams.books --cache CACHE"
METRIC = "mean gain in dB against each link's own best beam"
METHOD = Beams()
ALONE = (4, 8, 16)


def books(channels: Channels, seed: int) -> dict[str, dict[int, Any]]:
    """Arm -> beams -> what sweeps."""
    panel, method = channels.panel, replace(METHOD, seed=seed)
    nested = learn(method, channels)
    last = learn(method.single(nested.nesting.full), channels)
    phase = learn(replace(method, hardware="phase"), channels)
    pool = dft(panel, OVERSAMPLING)
    chosen = pool[greedy(channels.rows, pool, SIZES[-1])]
    return {
        "nested": {size: nested[:size] for size in SIZES},
        "dft": {size: NestedCodebook.of(wide(panel, size), panel) for size in SIZES},
        "greedy": {size: NestedCodebook.of(chosen[:size], panel) for size in SIZES},
        "tree": {size: TreeCodebook.grown(channels, levels(size)) for size in SIZES},
        "single": {size: learn(replace(method, beams=(size,)), channels) for size in ALONE},
        "prefix of 64": {size: NestedCodebook.of(last.beams.detach()[:size], panel) for size in SIZES},
        "phase": {size: phase[:size] for size in SIZES},
    }


def run(seed: int, cache: Path) -> dict[str, Any]:
    """Every arm on the sector that it learnt, and the nested books of either sector on the other."""
    found: dict[str, Any] = {}
    sectors = {name: learnt_and_held(name, seed, cache) for name in ("uma", "umi")}
    for arm, views in books(sectors["uma"][0], seed).items():
        found[arm] = {str(size): gap(view, sectors["uma"][1]) for size, view in views.items()}
    for name, (channels, _) in sectors.items():
        book = learn(replace(METHOD, seed=seed), channels)
        for other, (_, held) in sectors.items():
            found[f"{name} on {other}"] = {str(size): gap(book[:size], held) for size in SIZES}
    return found


def speed(cache: Path) -> dict[str, Any]:
    """Seconds of a fit, and beams scored a second beside Sionna's grid of beams and a complex product of its arrays."""
    from sionna.phy.mimo import grid_of_beams_dft

    channels = learnt_and_held("uma", 0, cache)[0]
    begin = time.perf_counter()
    learn(METHOD, channels)
    seconds = time.perf_counter() - begin
    theirs = grid_of_beams_dft(8, 8).flatten(0, 1)  # (64, 64), in our order of elements
    ours = dft(channels.panel)
    values = torch.from_numpy(channels.values)

    def sionna() -> torch.Tensor:
        return (values @ theirs.T).abs().square().sum(2).mean(1)

    def mine() -> torch.Tensor:
        with torch.no_grad():
            return gains(channels.rows, ours)

    overlap = (theirs.conj() @ ours.T).abs()  # each of theirs is one of ours
    order = overlap.argmax(1)
    scaled = sionna() / channels.power[:, None]
    apart = float(((mine()[:, order] - scaled).abs() / scaled).max())
    times = taking_turns({"sionna": sionna, "anysize": mine}, 20)
    scored = len(channels) * len(ours)
    rates = {arm: [1000 * scored / float(np.median(found))] for arm, found in times.items()}
    return {"seconds": seconds, "apart": apart, "rates": rates, "ratio": ratio(times, "sionna", "anysize")}


def rows(cache: Path, seeds: int) -> None:
    """Write the rows."""
    runs = per_seed(cache, "books", range(seeds), run, cache)
    table = {arm: {size: np.array([one[arm][size] for one in runs]) for size in runs[0][arm]} for arm in runs[0]}

    def figures(*arms: str) -> dict[str, Any]:
        return {arm: {size: list(found) for size, found in table[arm].items()} for arm in arms}

    def above(one: str, other: str, size: int) -> np.ndarray:
        return np.asarray(table[one][str(size)] - table[other][str(size)])

    common: dict[str, Any] = {
        "paper": PAPER, "metric": METRIC, "command": COMMAND, "data": DATA.format("urban macro"),
    }  # fmt: skip
    over = above("nested", "dft", 8)
    write_row(
        "beams-over-dft",
        claim="the first 8 beams of the learnt book are at least 3 dB above the 8-beam sub-array DFT grid on each seed",
        reported="SSB-Encoder: more than 3 dB over DFT",
        arms=["nested", "dft"],
        values=figures("nested", "dft"),
        outcome="won" if over.min() >= 3 else "lost",
        note=f"Above the grid by {shown(over)} dB at 8 beams. The grid's beams are wide, of 8 active elements, so this "
        "is easily reached: a greedy choice of narrow beams does it too.",
        **common,
    )
    four, near = above("nested", "greedy", 4), {size: above("nested", "greedy", size) for size in (16, 32, 64)}
    parts = four.mean() >= 0.5, min(one.mean() for one in near.values()) >= -0.15
    write_row(
        "beams-over-greedy",
        claim="on the mean of the seeds the learnt book is at least .5 dB above the greedy order of a 4-times "
        "oversampled DFT grid at 4 beams, and no more than .15 dB below it at 16, 32 and 64",
        reported="no such comparison",
        arms=["nested", "greedy", "tree"],
        values=figures("nested", "greedy", "tree"),
        outcome="won" if all(parts) else "mixed" if any(parts) else "lost",
        note=f"At 4 beams {shown(four)} dB, at 8 {shown(above('nested', 'greedy', 8))}; "
        + "; ".join(f"at {size} {shown(one)}" for size, one in near.items())
        + ". A first look at other drops, before this claim, showed .8, 0, 0 and -.1 dB at 4, 16, 32 and 64.",
        **common,
    )
    tree = {size: above("nested", "tree", size) for size in SIZES}
    write_row(
        "beams-beside-tree",
        claim="at every number of feedback bits the flat nested book is no more than .3 dB below a tree of as many "
        "leaves, which sweeps fewer beams",
        reported="hierarchical books (arXiv 2312.02178): 8 dB above a traditional sweep; no nested one beside",
        arms=["nested", "tree"],
        values=figures("nested", "tree"),
        outcome="won" if min(one.mean() for one in tree.values()) >= -0.3 else "lost",
        note="; ".join(f"at {size} {shown(one)}" for size, one in tree.items())
        + " dB above the tree, which at 64 leaves sends 16 beams in place of 64: where a user can be asked twice, "
        "the tree gives as much for less time; the flat book needs one report. One pilot, of another seed and other "
        "drops, had been seen before this claim.",
        **common,
    )
    steps = np.array([np.diff([one["nested"][str(size)] for size in SIZES]) for one in runs])
    write_row(
        "beams-every-bit",
        claim="the gap to the bound falls with every bit from 2 to 6, on every seed",
        reported="SSB-Encoder approaches the singular vectors of perfect channel knowledge",
        arms=["nested"],
        values=figures("nested"),
        outcome="won" if steps.min() > 0 else "lost",
        note=f"Each bit gains {', '.join(f'{one:.2f}' for one in steps.mean(0))} dB; the bound is each link's own "
        "eigenvector.",
        **common,
    )
    lost = {size: above("single", "nested", size) for size in ALONE}
    prefix = {size: above("single", "prefix of 64", size) for size in ALONE}
    parts = max(one.mean() for one in lost.values()) <= 0.5, min(one.mean() for one in prefix.values()) >= 0.9
    write_row(
        "beams-nested",
        claim="on the mean of the seeds the nested book loses at most .5 dB at 4, 8 and 16 beams to books learnt for "
        "that length alone, and the first beams of a book learnt for 64 alone lose at least .9 dB",
        reported="no nested books",
        arms=["nested", "single", "prefix of 64"],
        values=figures("nested", "single", "prefix of 64"),
        outcome="won" if all(parts) else "mixed" if any(parts) else "lost",
        note="Nested below its twins: "
        + "; ".join(f"at {size} {shown(one)}" for size, one in lost.items())
        + ". Cut from 64 below them: "
        + "; ".join(f"at {size} {shown(one)}" for size, one in prefix.items())
        + " dB.",
        **common,
    )
    phase = {size: above("nested", "phase", size) for size in SIZES}
    write_row(
        "beams-phase-only",
        claim="elements that set phases alone cost at most .5 dB at every length, on the mean of the seeds",
        reported="no figure",
        arms=["nested", "phase"],
        values=figures("nested", "phase"),
        outcome="won" if max(one.mean() for one in phase.values()) <= 0.5 else "lost",
        note="Phase-only below full hardware: "
        + "; ".join(f"at {k} {shown(one)}" for k, one in phase.items())
        + " dB.",
        **common,
    )
    sites = {
        (own, other): {size: above(f"{own} on {own}", f"{other} on {own}", size) for size in SIZES}
        for own, other in (("uma", "umi"), ("umi", "uma"))
    }
    least = {pair: float(one[8].mean()) for pair, one in sites.items()}
    better = all(one.mean() > 0 for found in sites.values() for one in found.values())
    write_row(
        "beams-other-site",
        claim="a book that was learnt on the other kind of sector (urban micro for macro, and back) is worse at every "
        "length, by at least .3 dB at 8 beams, in both directions",
        reported="site-specific gains; books of other sites are not shown",
        arms=["own sector", "other sector"],
        values=figures("uma on uma", "umi on uma", "umi on umi", "uma on umi"),
        outcome="won" if better and min(least.values()) >= 0.3 else "mixed" if better else "lost",
        note="; ".join(
            f"on {own}, own above other by {', '.join(f'{one.mean():.2f} at {k}' for k, one in found.items())} dB"
            for (own, _), found in sites.items()
        )
        + ". Drops of these models have no map, so a site is here a kind of sector: heights, distances, line of sight.",
        **{**common, "data": DATA.format("urban macro and micro")},
    )
    timed = kept(cache / "speed.json", speed, cache)
    won = timed["seconds"] < 20 and timed["ratio"] >= 1
    write_row(
        "beams-speed",
        claim="the 64-beam book is learnt from 1,200 links in under 20 s, and the beams of a grid are scored at least "
        "as fast as by the complex product of Sionna's own grid of beams, to the same values",
        reported="no figure",
        arms=["anysize", "sionna"],
        values={"beams scored a second": timed["rates"], "seconds of a fit": [timed["seconds"]]},
        outcome="won" if won and timed["apart"] < 1e-3 else "mixed" if timed["seconds"] < 20 else "lost",
        note=f"Fit in {timed['seconds']:.1f} s on one thread; scoring {timed['ratio']:.2f} times as fast as Sionna's; "
        f"values {timed['apart']:.1e} apart at most.",
        **{**common, "metric": "beams scored a second, and seconds"},
    )


def main() -> None:
    """Run what is missing and write the rows."""
    asked = arguments(__doc__, "cache", seeds=3).parse_args()
    torch.set_num_threads(1)
    rows(asked.cache, asked.seeds)


if __name__ == "__main__":
    main()
