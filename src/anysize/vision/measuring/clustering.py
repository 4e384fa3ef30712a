"""k-means and a linear probe, small: what features are judged by, without a library for it."""

from __future__ import annotations

import torch
from torch.nn import functional


def k_means(rows: torch.Tensor, k: int, *, rounds: int = 30, restarts: int = 3, seed: int = 0) -> torch.Tensor:
    """
    The cluster (n,) of each row (n, d), 0 to k - 1: Lloyd's rounds from k-means++, the best of several starts.

    `k` is cut to n.
    """
    rows, best, least = rows.float(), torch.zeros(len(rows), dtype=torch.long), float("inf")
    generator = torch.Generator().manual_seed(seed)
    for _ in range(restarts):
        centres = _spread(rows, min(k, len(rows)), generator)
        for _ in range(rounds):
            squares, places = _distances(rows, centres).min(1)
            sums = torch.zeros_like(centres).index_add_(0, places, rows)
            counts = torch.bincount(places, minlength=len(centres))
            # A cluster that lost all its rows stays where it is.
            moved = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
            if torch.equal(moved, centres):
                break
            centres = moved
        squares, places = _distances(rows, centres).min(1)
        if float(squares.sum()) < least:
            best, least = places, float(squares.sum())
    return best


def _distances(rows: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    return (rows.square().sum(1)[:, None] - 2 * rows @ centres.T + centres.square().sum(1)).clamp_min(0)


def _spread(rows: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
    chosen = [int(torch.randint(len(rows), (), generator=generator))]
    nearest = _distances(rows, rows[chosen[-1:]])[:, 0]
    while len(chosen) < k:
        weights = nearest if float(nearest.sum()) > 0 else torch.ones_like(nearest)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        nearest = torch.minimum(nearest, _distances(rows, rows[chosen[-1:]])[:, 0])
    return rows[chosen]


def logistic(rows: torch.Tensor, targets: torch.Tensor, asked: torch.Tensor, decay: float = 1e-3) -> torch.Tensor:
    """
    Logits (m, classes) of asked rows (m, d), by multinomial regression on rows (n, d) and targets (n, classes).

    Rows are standardised by those that are learnt from; `decay` is half the weight of the squared coefficients.
    """
    mean, spread = rows.mean(0), rows.std(0, correction=0).clamp_min(1e-6)
    x, y = ((part - mean) / spread for part in (rows, asked))
    weights = torch.zeros(x.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS([weights, bias], max_iter=100, line_search_fn="strong_wolfe", tolerance_change=1e-7)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = functional.cross_entropy(x @ weights + bias, targets) + decay * weights.square().sum() / 2
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return (y @ weights + bias).detach()


def votes(
    asked: torch.Tensor,
    rows: torch.Tensor,
    targets: torch.Tensor,
    *,
    k: int,
    temperature: float,
    itself: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    (m, classes): what the k nearest of unit rows (n, d) say of each unit row asked (m, d), weighed by exp(cosine / t).

    `targets` (n, classes) is what each says. Row i is not asked of ``itself[i]``, where that is not -1.
    """
    found = []
    for start in range(0, len(asked), 512):
        scores = asked[start : start + 512] @ rows.T
        if itself is not None:
            own = itself[start : start + 512]
            here = torch.arange(len(own))[own >= 0]
            scores[here, own[own >= 0]] = -torch.inf
        near, places = scores.topk(min(k, len(rows)), 1)
        weights = torch.exp((near - near[:, :1]) / temperature)
        found.append((weights[..., None] * targets[places]).sum(1))
    return torch.cat(found)
