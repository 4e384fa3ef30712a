"""The rows of evidence that `benchmarks.sparse.msae` writes from what it measured."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.evidence import write_row
from benchmarks.sparse.samples.sample import Sample, command, named

PAPER = "Zaigrajew, Baniecki and Biecek 2025, Interpreting CLIP with Hierarchical Sparse Autoencoders, arXiv 2502.20578"
K = 32
UW, RW, TOPK, LONGER, L1 = "MSAE, UW", "MSAE, RW", f"TopK {K}", f"TopK {K}, equal compute", "ReLU + L1"


def write_recovery(seeds: list[dict[str, Any]], on: str, rows: Sample, options: dict[str, Any], data: str) -> None:
    """What the curves say, claim by claim."""
    arms, levels = list(seeds[0]), [int(k) for k in seeds[0][UW]["FVU"]]
    values = {arm: {str(k): [seed[arm]["FVU"][str(k)] for seed in seeds] for k in levels} for arm in arms}
    area = {arm: [float(np.mean(list(seed[arm]["FVU"].values()))) for seed in seeds] for arm in arms}
    mean = {arm: {k: float(np.mean(values[arm][str(k)])) for k in levels} for arm in arms}
    others, last = [k for k in levels if k != K], levels[-1]
    claims = {
        f"UW below TopK at every k but {K}, equal steps": all(mean[UW][k] < mean[TOPK][k] for k in others),
        f"UW below TopK at every k but {K}, equal compute": all(mean[UW][k] < mean[LONGER][k] for k in others),
        "UW's curve never rises": all(mean[UW][b] <= mean[UW][a] + 1e-6 for a, b in itertools.pairwise(levels)),
        "area below TopK's and ReLU + L1's": max(area[UW]) < min(min(area[arm]) for arm in (TOPK, LONGER, L1)),
        "RW below UW at 16 and above it at all": mean[RW][16] < mean[UW][16] and mean[RW][last] > mean[UW][last],
    }
    failed = [claim for claim, held in claims.items() if not held]
    ahead = {arm: [str(k) for k in levels if mean[UW][k] < mean[arm][k]] for arm in (TOPK, LONGER, L1)}
    slower = float(np.mean([seed[UW]["seconds"] / seed[TOPK]["seconds"] for seed in seeds]))
    width = rows.vectors.shape[1]
    write_row(
        named("msae-progressive-recovery", on),
        paper=PAPER,
        claim=f"On {rows.what}, a code trained at many levels of k reconstructs well from its k strongest latents, for "
        "every k",
        reported="FVU below 0.1 at about 80 % zeros; UW keeps more meaning, RW is sparser (CLIP, 2.9 million images)",
        arms=arms,
        metric=f"FVU from the k strongest positive latents of a code, on {rows.held:,} held-out {rows.what}; lower is "
        "better",
        values={
            "FVU by k": values,
            "mean FVU over k": area,
            f"positive latents of {last}": {arm: [seed[arm]["positive"] for seed in seeds] for arm in arms},
            "training, processor seconds": {arm: [round(seed[arm]["seconds"], 1) for seed in seeds] for arm in arms},
            "steps": {arm: [seed[arm]["steps"] for seed in seeds] for arm in arms},
            "learning rate (and L1 penalty)": {arm: ", ".join(f"{one:g}" for one in options[arm]) for arm in arms},
            "claims": claims,
        },
        outcome="won" if not failed else "mixed" if len(failed) < 3 else "lost",
        note=f"Mean FVU over all k is {np.mean(area[UW]):.3f} for UW, {np.mean(area[RW]):.3f} for RW, "
        f"{np.mean(area[TOPK]):.3f} for TopK, {np.mean(area[LONGER]):.3f} for TopK trained as long in seconds, and "
        f"{np.mean(area[L1]):.3f} for ReLU + L1. UW is below TopK at k = {_list(ahead[TOPK])}, below TopK at equal "
        f"compute at {_list(ahead[LONGER])}, below ReLU + L1 at {_list(ahead[L1])}. At k = {K} exactly, UW's FVU is "
        f"{mean[UW][K] / mean[TOPK][K]:.2f} of TopK's and {mean[UW][K] / mean[LONGER][K]:.2f} of that at equal "
        f"compute; an MSAE step takes {slower:.1f} times a TopK one. "
        f"{'Every claim held' if not failed else 'What did not hold: ' + '; '.join(failed)}. A sparse code says "
        f"something below k = {width // 4}, a quarter of the input's width ({width}).",
        command=command("msae", on),
        data=data,
    )


def write_probe(seeds: list[dict[str, Any]], on: str, data: str) -> None:
    """What a linear classifier says of the reconstructions."""
    arms, levels = list(seeds[0]), list(seeds[0][UW]["probe"])

    def by_k(figure: str) -> dict[str, dict[str, list[float]]]:
        return {arm: {k: [seed[arm]["probe"][k][figure] for seed in seeds] for k in levels} for arm in arms}

    agreement, rebuilt = by_k("agreement"), by_k("accuracy_rebuilt")
    mean = {arm: {k: float(np.mean(one)) for k, one in found.items()} for arm, found in agreement.items()}
    ahead = {arm: [k for k in levels if mean[UW][k] > mean[arm][k]] for arm in (TOPK, LONGER, L1, RW)}
    whole = [seed[UW]["probe"][levels[0]]["accuracy"] for seed in seeds]
    few = str(K)
    won = all(len(ahead[arm]) == len(levels) for arm in (TOPK, LONGER, L1))
    write_row(
        "msae-probe",
        paper=PAPER,
        claim="What the k strongest latents of MSAE rebuild keeps what a linear classifier reads in the features",
        reported="MSAE keeps classification best among its rivals, UW better than RW (ImageNet, CLIP)",
        arms=arms,
        metric="share of the held-out CIFAR-10 pictures of which a linear probe of the original features says the same "
        "class of what is rebuilt, by k; KL of its answers in nats; its accuracy",
        values={
            "agreement": agreement,
            "KL": by_k("kl"),
            "accuracy on rebuilt": rebuilt,
            "accuracy": {"originals": whole},
        },
        outcome="won" if won else "mixed" if any(ahead[arm] for arm in (TOPK, LONGER, L1)) else "lost",
        note=f"At k = {few} the probe says the same of {100 * mean[UW][few]:.1f} % of the pictures rebuilt by UW, "
        f"{100 * mean[RW][few]:.1f} % by RW, {100 * mean[TOPK][few]:.1f} % by TopK, {100 * mean[LONGER][few]:.1f} % by "
        f"TopK at equal compute and {100 * mean[L1][few]:.1f} % by ReLU + L1. UW agrees more than TopK at k = "
        f"{_list(ahead[TOPK])}, than TopK at equal compute at {_list(ahead[LONGER])}, than ReLU + L1 at "
        f"{_list(ahead[L1])}, than RW at {_list(ahead[RW])}. On originals the probe is right at "
        f"{100 * np.mean(whole):.1f} %.",
        command=command("msae", on),
        data=data,
    )


def _list(ks: list[str]) -> str:
    return ", ".join(ks) or "none"
