"""
Time of the nested in-batch softmax, loss and gradients, against sentence-transformers' and against a single size.

    python -m benchmarks.core.objective_speed [--rounds 40]

Batch 1,024, 768 dimensions, six sizes, random embeddings that stand for an encoder's output: what is timed is the
objective alone. It runs on one thread and counts processor time, which other programs on the machine disturb little;
the arms take turns within each round. The figures are medians, and the spread of the ratios round by round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from sentence_transformers.sentence_transformer import losses as peers

from anysize.text.losses.dims import MatryoshkaLoss
from benchmarks.common import arguments
from benchmarks.evidence import write_row

BATCH, DIMS = 1024, (768, 512, 256, 128, 64, 32)
OURS, THEIRS, SINGLE = "anysize, six sizes", "sentence-transformers, six sizes", "sentence-transformers, 768 alone"


class Ready(torch.nn.Module):
    """An encoder whose embeddings are there already."""

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Pass the rows on as the embedding."""
        return {"sentence_embedding": features["rows"]}

    def get_embedding_dimension(self) -> int:
        """The width of the rows."""
        return DIMS[0]


def main() -> None:
    """Check that the two nested losses agree, time all three, write the row."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how many times each arm is timed")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: Any = Ready()  # the part of a model that the losses ask
    pair = [torch.randn(BATCH, DIMS[0], requires_grad=True) for _ in range(2)]
    inner = peers.MultipleNegativesRankingLoss(model)
    arms = {
        OURS: MatryoshkaLoss(model, inner, DIMS),
        THEIRS: peers.MatryoshkaLoss(model, inner, DIMS),
        SINGLE: inner,
    }
    _check(arms[OURS], arms[THEIRS], pair)
    for _ in range(3):
        for loss in arms.values():
            _step(loss, pair)
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, loss in arms.items():
            start = time.process_time()
            _step(loss, pair)
            times[name].append(1e3 * (time.process_time() - start))
    ratios = {name: [a / b for a, b in zip(times[OURS], times[name], strict=True)] for name in (THEIRS, SINGLE)}
    for name, taken in times.items():
        print(f"{name}: median {statistics.median(taken):.1f} ms, fastest {min(taken):.1f} ms")
    (to_theirs, low, high), (to_single, low_1, high_1) = _middle(ratios[THEIRS]), _middle(ratios[SINGLE])
    fastest, fastest_1 = (min(times[OURS]) / min(times[name]) for name in (THEIRS, SINGLE))
    print(
        f"to theirs {to_theirs:.2f} ({low:.2f}-{high:.2f}), to a single size {to_single:.2f} ({low_1:.2f}-{high_1:.2f})"
    )
    write_row(
        "mrl-objective-speed",
        paper="Matryoshka Representation Learning (Kusupati et al. 2022, arXiv:2205.13147)",
        claim="Loss and gradients at six sizes cost little more than at one, and less than in sentence-transformers",
        reported="no figure; the paper says that nesting costs nothing at inference",
        arms=list(arms),
        metric="processor milliseconds on one thread for loss and gradients; the ratio of ours to each of the others",
        values={
            "ms, median": {name: round(statistics.median(taken), 1) for name, taken in times.items()},
            "ms, fastest": {name: round(min(taken), 1) for name, taken in times.items()},
            "ratio of ours, median of rounds": {THEIRS: round(to_theirs, 3), SINGLE: round(to_single, 3)},
            "ratio of ours, 10th percentile": {THEIRS: round(low, 3), SINGLE: round(low_1, 3)},
            "ratio of ours, 90th percentile": {THEIRS: round(high, 3), SINGLE: round(high_1, 3)},
            "ratio of ours, fastest to fastest": {THEIRS: round(fastest, 3), SINGLE: round(fastest_1, 3)},
        },
        outcome="won" if to_theirs <= 0.65 and to_single <= 1.7 else "mixed" if to_theirs < 1 else "lost",
        note=f"Six sizes take {to_theirs:.2f} of sentence-transformers' time and {to_single:.2f} of a single size's. "
        f"Medians of {rounds} interleaved rounds; in the middle four fifths of the rounds the ratios lie between "
        f"{low:.2f} and {high:.2f}, and between {low_1:.2f} and {high_1:.2f}. Values and gradients agree to 1e-5. "
        "The targets were 0.65 and 1.7.",
        command="python -m benchmarks.core.objective_speed",
        data=f"random embeddings, batch {BATCH}, {DIMS[0]} dimensions, sizes {', '.join(map(str, DIMS))}",
    )


def _step(loss: Callable[..., torch.Tensor], pair: list[torch.Tensor]) -> torch.Tensor:
    for rows in pair:
        rows.grad = None
    value = loss([{"rows": rows} for rows in pair], None)
    value.backward()
    return value.detach()


def _check(ours: torch.nn.Module, theirs: torch.nn.Module, pair: list[torch.Tensor]) -> None:
    values, gradients = [], []
    for loss in (ours, theirs):
        values.append(_step(loss, pair))
        gradients.append([rows.grad for rows in pair])
    torch.testing.assert_close(values[0], values[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-5)


def _middle(ratios: list[float]) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile."""
    tenths = statistics.quantiles(ratios, n=10)
    return statistics.median(ratios), tenths[0], tenths[-1]


if __name__ == "__main__":
    main()
