"""The rows of evidence that `benchmarks.sparse.progressive_coding` writes from what it measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.evidence import write_row
from benchmarks.sparse.samples.sample import command, named

READINGS, KINDS = ("mask", "reselect"), ("topk", "batchtopk")
MEASURED = ("energy", "frequency", "contribution", "greedy")
PAPER = "Peter and Sogaard 2025, Empirical Evaluation of Progressive Coding for SAEs, arXiv 2505.00190"
Write = Callable[..., Any]


def write_rows(seeds: list[dict[str, Any]], on: str, what: str, data: str) -> None:
    """What was found on rows of a kind, claim by claim."""
    fvu, l0 = ({reading: _by_arm(seeds, reading, key) for reading in READINGS} for key in ("fvu", "l0"))
    sizes = list(fvu["mask"]["topk, energy"])
    below, full = sizes[:-1], sizes[-1]
    same: dict[str, Any] = {"paper": PAPER, "command": command("progressive_coding", on), "data": data}
    write = partial(_write, on, what, same)
    _orderings(write, seeds, fvu, l0, below, full)
    _law(write, seeds)
    _similarity(write, seeds, below, full)
    if "losses" in seeds[0]:
        _recaptured(partial(write_row, **same), seeds, below)


def _write(on: str, what: str, same: dict[str, Any], name: str, *, claim: str, **fields: Any) -> None:
    """What all rows say alike is said once."""
    write_row(named(name, on), claim=f"On {what}, {claim}", **fields, **same)


def _orderings(write: Write, seeds: list[dict[str, Any]], fvu: Any, l0: Any, below: list[str], full: str) -> None:
    words, whole = [], True
    for reading, kind in itertools.product(READINGS, KINDS):
        arms = [f"matryoshka {kind}", f"{kind}, energy", f"{kind}, frequency", f"{kind}, random"]
        found = fvu[reading]
        kept = [
            size
            for size in below
            if all(_mean(found[a][size]) <= _mean(found[b][size]) for a, b in itertools.pairwise(arms))
        ]
        whole = whole and kept == below
        words.append(
            f"{kind}, {reading}: holds at {len(kept)} of {len(below)}, {_range(found, arms[1], arms[0], below)}"
        )
    plain = [_range(fvu["mask"], f"matryoshka {kind}", f"{kind}, energy", [full]) for kind in KINDS]
    alone = _range(fvu["reselect"], "matryoshka topk", "topk, trained alone", below)
    greedy = _range(fvu["reselect"], "topk, greedy", "topk, energy", below)
    bias = _range(fvu["reselect"], "topk, energy and bias", "topk, energy", below)
    time = [found["seconds"]["matryoshka batchtopk"] / found["seconds"]["batchtopk"] for found in seeds]
    write(
        "progressive-orderings",
        claim="at every granularity nested is better than sorted by energy, by frequency, and random order, in this "
        "order",
        reported="Matryoshka below pruned (by mean squared activation) below unsorted, in FVU, at every granularity",
        arms=list(fvu["reselect"]),
        metric="fraction of variance unexplained on held-out rows (lower is better), active latents per row, and CPU "
        "time "
        "of 100 training steps, nested over plain",
        values={"fvu": fvu, "l0": l0, "time": {"nested over plain": time}},
        outcome="won" if whole else "mixed",
        note=(
            f"The ordering {'holds everywhere' if whole else 'holds in part'} (sizes below the full one; FVU of "
            f"sorted by "
            f"energy over nested): {'; '.join(words)}. At full width nested over plain is {plain[0]} (topk) and "
            f"{plain[1]} "
            f"(batchtopk). Re-selected, nested over training at that size alone is {alone}; greedy order over energy "
            f"{greedy}; the bias refitted over not {bias}. mask cuts codes over all latents and lowers L0; reselect "
            "chooses, or calibrates to 32 on average, within the prefix. Greedy, contribution and the bias are ours."
        ),
    )


def _law(write: Write, seeds: list[dict[str, Any]]) -> None:
    law = {kind: {key: [found["law"][kind][key] for found in seeds] for key in ("slope", "r2")} for kind in KINDS}
    names = [rival["name"] for rival in seeds[0]["law"]["topk"]["rivals"]]
    ratios = {
        kind: {name: [_rival(found["law"][kind], name)["ratio"] for found in seeds] for name in names} for kind in KINDS
    }
    against = [f"{name} ({kind})" for kind in KINDS for name in names if _mean(ratios[kind][name]) < -1.96]
    won = [f"{name} ({kind})" for kind in KINDS for name in names if _mean(ratios[kind][name]) > 1.96]
    straight = all(value > 0.9 for found in law.values() for value in found["r2"])
    write(
        "progressive-powerlaw",
        claim="the importance of a plain autoencoder's latents falls as a power of the rank",
        reported="a power law (dictionary power law hypothesis)",
        arms=list(KINDS),
        metric="slope and R2 of log energy against log rank, ranks 10 to 80 % of the live latents; Vuong's ratio of "
        "the "
        "likelihoods of power law and rival (above 1.96 for the law, below -1.96 for the rival)",
        values={"line": law, "power law against": ratios},
        outcome="lost" if not straight or len(against) == len(KINDS) * len(names) else "mixed" if against else "won",
        note=(
            f"The line has slope {_mean(law['topk']['slope']):.2f} (topk) and {_mean(law['batchtopk']['slope']):.2f} "
            f"(batchtopk) and R2 of at least {min(min(found['r2']) for found in law.values()):.3f}; by likelihood "
            f"the law "
            f"is better than {', '.join(won) or 'none'}, and worse than {', '.join(against) or 'none'}."
        ),
    )


def _similarity(write: Write, seeds: list[dict[str, Any]], below: list[str], full: str) -> None:
    arms = [arm for kind in KINDS for arm in (f"matryoshka {kind}", f"{kind}, energy")]
    rsa = {arm: _by_size(seeds, "reselect", arm, "rsa") for arm in arms}
    bands = {arm: _by_size(seeds, "likeness", arm) for arm in seeds[0]["likeness"]}
    best = [
        sum(_mean(rsa[f"matryoshka {kind}"][size]) >= _mean(rsa[f"{kind}, energy"][size]) for size in below)
        for kind in KINDS
    ]
    changes = [f"{_mean(bands[arm][full]) - _mean(bands[arm][below[0]]):+.3f} ({arm})" for arm in bands]
    write(
        "progressive-similarity",
        claim="nested prefixes keep the geometry of the inputs best; pruned latents stay as interpretable as they were",
        reported="RSA highest for Matryoshka; interpretability of Matryoshka 0.74 inside to 0.57 outside, pruned "
        "unchanged",
        arms=arms,
        metric="RSA of reconstructions with inputs (Spearman of cosine distances of 500 held-out rows, 5 samples), "
        "re-selected; in place of an LLM judge, mean cosine of a latent's 20 strongest inputs, less chance, by band",
        values={"rsa": rsa, "likeness of strongest inputs": bands},
        outcome="mixed",
        note=(
            f"RSA is highest for nested at {best[0]} (topk) and {best[1]} (batchtopk) of {len(below)} sizes below "
            f"the full "
            f"one; from the first band to the last the likeness of strongest inputs changes by {', '.join(changes)}. "
            "The second is a stand-in for interpretability, which it does not settle."
        ),
    )


def _recaptured(write: Write, seeds: list[dict[str, Any]], below: list[str]) -> None:
    nested, floor = "matryoshka batchtopk", "batchtopk, random"
    arms = [nested, *(f"batchtopk, {by}" for by in MEASURED), floor]
    shares = {reading: {arm: _by_size(seeds, reading, arm, "recaptured") for arm in arms} for reading in READINGS}
    ends = {end: [found["losses"][end] for found in seeds] for end in seeds[0]["losses"]}
    clean, zero, mean = (_mean(ends[end]) for end in ("untouched", "set to zero", "set to the mean"))
    nats = {
        reading: {
            arm: {size: [(1 - share) * (zero - clean) for share in values] for size, values in held.items()}
            for arm, held in found.items()
        }
        for reading, found in shares.items()
    }
    words, whole = [], True
    for reading in READINGS:
        found = shares[reading]
        ahead = [
            size
            for size in below
            if min(found[nested][size]) > max(max(found[f"batchtopk, {by}"][size]) for by in MEASURED)
        ]
        sorted_ = [
            size
            for size in below
            if all(_mean(found[f"batchtopk, {by}"][size]) > _mean(found[floor][size]) for by in MEASURED)
        ]
        whole = whole and ahead == below and sorted_ == below
        small = below[0]
        words.append(
            f"{reading.capitalize()}: at {small} latents nested brings back {100 * _mean(found[nested][small]):.0f} % "
            "of the loss, "
            + ", ".join(f"{by} {100 * _mean(found[f'batchtopk, {by}'][small]):.0f} %" for by in MEASURED)
            + f", random order {100 * _mean(found[floor][small]):.0f} %, and nested is above every pruned one in all "
            f"seeds at {len(ahead)} of {len(below)} sizes, every pruned one above random at {len(sorted_)}"
        )
    write(
        "progressive-recaptured-loss",
        claim="Nested prefixes bring back more of a language model's loss than pruned ones, and those more than random "
        "ones, at every granularity",
        reported="Matryoshka above pruned above unsorted at every granularity (Gemma-2-2B)",
        arms=arms,
        metric="share of the loss between the site set to zero and untouched that the reconstruction brings back (1 is "
        "all), on about 4,000 tokens of held-out books; the loss above the untouched one in nats",
        values={"share": shares, "nats above untouched": nats, "losses": {"nats": ends}},
        outcome="won" if whole else "mixed",
        note=(
            f"{'. '.join(words)}. The ends: {clean:.2f} nats untouched, {zero:.2f} with the site set to zero, "
            f"{mean:.2f} set to its mean (a share of {100 * (zero - mean) / (zero - clean):.0f} %). Every token is "
            "replaced, the first too."
        ),
    )


def _by_arm(seeds: list[dict[str, Any]], reading: str, key: str) -> dict[str, dict[str, list[float]]]:
    return {arm: _by_size(seeds, reading, arm, key) for arm in seeds[0][reading]}


def _by_size(seeds: list[dict[str, Any]], *path: str) -> dict[str, list[float]]:
    """Size -> one figure a seed, of what stands under a path of names."""

    def at(found: Any) -> Any:
        for name in path:
            found = found[name]
        return found

    return {size: [at(found)[size] for found in seeds] for size in at(seeds[0])}


def _rival(law: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in law["rivals"] if one["name"] == name)


def _range(found: Any, one: str, other: str, sizes: list[str]) -> str:
    """The ratios of two arms' means, smallest to largest."""
    ratios = [_mean(found[one][size]) / _mean(found[other][size]) for size in sizes]
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
