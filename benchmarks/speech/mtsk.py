"""
Llama-MTSK on audio-visual digits: one recogniser for four pairs of rates against one each, and against one that learnt
at the richest pair and is pooled harder; one adapter for all pairs, one a pair, and both.

    python -m benchmarks.speech.mtsk --data FSDD --cache CACHE      # about half an hour of one core for three seeds

FSDD is a folder with ``recordings.zip`` of the Free Spoken Digit Dataset. Every arm begins with the same small Whisper
encoder and Llama (benchmarks/speech/base.py), which it leaves as they are, and sees the same 600 utterances five times.
Finished runs are kept in --cache, so that a stopped run continues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anysize.tokens.speech.methods import MTSK
from benchmarks.common import arguments, per_seed, shown
from benchmarks.speech.arms import AUDIO, VIDEO, alone, error_rates, every, learnt, names
from benchmarks.speech.declared import AUDIO_VISUAL, declarer
from benchmarks.speech.declared import MTSK as MTSK_PAPER

declare = declarer(MTSK_PAPER, AUDIO_VISUAL, "python -m benchmarks.speech.mtsk --data FSDD --cache CACHE")
NESTED = ("ms", "ss", "mss")


def method(arm: str) -> Any:
    """How an arm is trained; ``free`` is the single one of the richest pair, in weights that run at any."""
    if arm in NESTED:
        return MTSK(audio_rates=AUDIO, video_rates=VIDEO, strategy=arm)  # type: ignore[arg-type]  # one of three
    whole = MTSK(audio_rates=AUDIO, video_rates=VIDEO, strategy="ss")
    return whole.at_full() if arm == names()[0] else alone(whole, arm)


def run(seed: int, arm: str, data: Path, cache: Path) -> dict[str, float]:
    """Pair -> the word error rate of one arm: at all four pairs, or at its own."""
    model = learnt(method(arm), data, cache, arm, seed)
    return error_rates(model, data, seed, every() if arm == names()[0] else None)


def rows(data: Path, cache: Path, seeds: int) -> None:
    """Run what is missing and write the rows, each when its arms are there."""
    pairs = names()

    def figures(arm: str) -> list[dict[str, float]]:
        return per_seed(cache, f"mtsk-{arm}", range(seeds), run, arm, data, cache)

    found = {arm: figures(arm) for arm in (*NESTED, pairs[0])}
    nested = {arm: {pair: [one[pair] for one in found[arm]] for pair in pairs} for arm in NESTED}
    free = {pair: [one[pair] for one in found[pairs[0]]] for pair in pairs}
    mean = {arm: np.mean([held[pair] for pair in pairs], axis=0) for arm, held in nested.items()}  # by seed
    heavy = pairs[-1]
    gap = np.array(free[heavy]) - np.array(nested["ms"][heavy])
    ratio = np.mean(free[heavy]) / max(float(np.mean(nested["ms"][heavy])), 1e-9)
    declare(
        "mtsk-pooled-harder",
        "trained at the richest pair and pooled to the heaviest, the word error rate is at least twice that of one "
        "model for all pairs (MS), on every seed",
        "sound alone on LRS3, rate 10: 160.0 against 3.0",
        {"ms": nested["ms"], "free": free},
        (all(f >= 2 * m for f, m in zip(free[heavy], nested["ms"][heavy], strict=True)),),
        f"At {heavy} free minus MS: {shown(gap)}; {ratio:.1f} times.",
    )
    order = [float(np.mean(mean[arm])) for arm in NESTED]
    declare(
        "mtsk-strategies",
        "an adapter a pair (SS) is on the mean over pairs and seeds at most one adapter for all (MS), as in the paper "
        "at 1B; both together (MSS) are reported without a claim",
        "LRS2, means over pairs: MS 6.5, SS 4.8, MSS 6.1",
        nested,
        (order[1] <= order[0],),
        f"Means over pairs and seeds: MS {order[0]:.2f}, SS {order[1]:.2f}, MSS {order[2]:.2f}; SS minus MS "
        f"{shown(mean['ss'] - mean['ms'])}.",
    )
    better = _better([(rich, poor) for rich in every() for poor in every() if poor < rich], nested["ss"])
    declare(
        "mtsk-heavier",
        "fewer tokens are never better than more beyond noise: for no pair of sizes of SS of which one contains the "
        "other is the smaller one better by more than the spread over seeds of their difference",
        "LRS3, SS: 2.3 at (4, 2), 2.2 at (4, 5), 3.3 at (16, 2), 3.6 at (16, 5)",
        {"ss": nested["ss"]},
        (not better,),
        f"Smaller and better beyond the spread: {', '.join(better) or 'none'}.",
    )
    single = {pair: [one[pair] for one in figures(pair)] for pair in pairs}
    alone_ = np.mean([single[pair] for pair in pairs], axis=0)
    declare(
        "mtsk-one-model",
        "one model with an adapter a pair (SS) is on the mean over four pairs at most 1.0 above the word error rate of "
        "four models trained for one pair each",
        "Whisper small, Llama 3.2-1B: LRS3 2.85 against 3.15, LRS2 4.83 against 5.5",
        {"ss": nested["ss"], "single": single},
        ((mean["ss"] - alone_).mean() <= 1.0,),
        f"SS minus single, mean over pairs: {shown(mean['ss'] - alone_)}; without a claim, MSS minus single: "
        f"{shown(mean['mss'] - alone_)}.",
    )


def _better(steps: list[tuple[Any, Any]], held: dict[str, list[float]]) -> list[str]:
    from anysize.tokens.speech.scaled.scales import Scale

    found = []
    for rich, poor in steps:
        one, other = (Scale.of(size, "avsr").name for size in (rich, poor))
        gain = np.array(held[one]) - np.array(held[other])
        if gain.mean() > gain.std(ddof=1 if len(gain) > 1 else 0):
            found.append(f"{other} than {one} by {gain.mean():.2f}")
    return found


def main() -> None:
    """Run what is missing and write the rows."""
    asked = arguments(__doc__, "data", "cache", seeds=3).parse_args()
    rows(asked.data, asked.cache, asked.seeds)


if __name__ == "__main__":
    main()
