"""
Sinkhorn-Knopp on 4,096 x 16,384 scores: the time of ours beside that of the usual form, in the same run.

    python -m benchmarks.vision.sinkhorn  # a few minutes on one core, 2 GB

The usual form (SwAV, DINOv2, Franca) exponentiates and then divides the whole matrix, rows and columns in turn, three
times. Both are float32 and one thread; they take turns, and processor time counts. Claimed before the run: ours takes
at most 0.7 of the time, gives the same targets within 1e-4 of the largest, and none of it is infinite or NaN at a
spread of scores where the usual form is.
"""

from __future__ import annotations

import torch

from anysize.vision import sinkhorn_knopp
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.timing import ratio, taking_turns


def usual(scores: torch.Tensor, temperature: float, rounds: int = 3) -> torch.Tensor:
    """As the released code has it, for one process."""
    q = torch.exp(scores / temperature).T
    samples, prototypes = q.shape[1], q.shape[0]
    q /= q.sum()
    for _ in range(rounds):
        q /= q.sum(dim=1, keepdim=True)
        q /= prototypes
        q /= q.sum(dim=0, keepdim=True)
        q /= samples
    q *= samples
    return q.T


def main() -> None:
    """Time, compare and write the row."""
    o = arguments(__doc__, samples=4096, prototypes=16384, repeats=5).parse_args()
    torch.set_num_threads(1)
    scores = torch.nn.functional.normalize(
        torch.randn(o.samples, 64, generator=torch.Generator().manual_seed(0)), dim=1
    )
    rows = torch.nn.functional.normalize(
        torch.randn(o.prototypes, 64, generator=torch.Generator().manual_seed(1)), dim=1
    )
    scores = scores @ rows.T  # cosines, as a head with a normalised bottleneck gives them
    arms = {
        "usual": lambda: usual(scores, 0.07),
        "ours": lambda: sinkhorn_knopp(scores, 0.07),
        "ours, logarithms": lambda: sinkhorn_knopp(scores, 0.07, log_domain=True),
    }
    one, other = arms["usual"](), arms["ours"]()
    apart = float((one - other).abs().max() / one.max())
    wide = 8 * torch.randn(512, 256, generator=torch.Generator().manual_seed(2))
    breaks = not bool(torch.isfinite(usual(wide, 0.04)).all())
    holds = bool(torch.isfinite(sinkhorn_knopp(wide, 0.04)).all())
    del one, other
    times = taking_turns(arms, o.repeats)
    share = ratio(times, "ours", "usual")
    print(times, share, apart, breaks, holds, flush=True)
    good = [share <= 0.7, apart <= 1e-4, breaks and holds]
    write_row(
        "franca-sinkhorn-speed",
        paper="Venkataramanan, Pariza et al. 2025, Franca, arXiv 2507.14137; SwAV, Caron et al. 2020, arXiv 2006.09882",
        claim="Balanced targets cost less than in the usual form, equal it, and do not overflow",
        reported="none",
        arms=list(arms),
        metric=f"milliseconds of processor time for {o.samples:,} x {o.prototypes:,} scores, one thread",
        values=times,
        outcome="won" if all(good) else "mixed" if any(good) else "lost",
        note=f"Ours takes {share:.2f} of the time of the usual form (median over {o.repeats} turns; goal at most 0.7), "
        f"with targets {apart:.1g} of the largest apart (goal 1e-4). On scores spread by 8 at temperature 0.04 the "
        "usual "
        f"form {'is' if breaks else 'is not'} infinite or NaN, and ours {'is not' if holds else 'is'}. A first run, "
        "in which ours wrote three "
        "matrices in place of one, took 0.98 of the time; after that look it was changed, the claim was not. The "
        "machine "
        "was shared with other work.",
        command="python -m benchmarks.vision.sinkhorn",
        data="cosines of random unit vectors of 64 dims",
    )


if __name__ == "__main__":
    main()
