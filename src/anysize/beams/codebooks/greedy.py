"""
The greedy order of a pool of beams: nested, and for every length within 1 - 1/e of the best choice of that length.

``F(S) = mean over links of log max over S of gain`` (above a floor) is monotone submodular, as facility location is
(Nemhauser, Wolsey and Fisher 1978), so a beam's worth only falls as others are taken: an old value that is already too
low need not be computed again (lazy evaluation, Minoux 1978).
"""

from __future__ import annotations

import heapq

import torch

from anysize.beams.codebooks.gains import gains
from anysize.core.arguments import takes, whole
from anysize.core.errors import SizeError

_FLOOR = 1e-2  # of the array gain: a link that no beam of the book serves counts as -20 dB


@takes(beams=whole())
def greedy(rows: torch.Tensor, pool: torch.Tensor, beams: int) -> torch.Tensor:
    """
    The places in `pool` (p, elements) of the beams to take, best first, (beams,) for links (n, m, 2, elements).

    Raises `SizeError` if more are asked for than the pool has.
    """
    if not 1 <= beams <= len(pool):
        raise SizeError(f"{beams} beams of a pool of {len(pool)}; ask for 1 to {len(pool)}")
    with torch.no_grad():
        worth = gains(rows, pool).clamp_min(_FLOOR).log().T.contiguous()  # (p, n)
    best = torch.full_like(worth[0], float(torch.log(torch.tensor(_FLOOR))))
    queue = [(-float((one - best).clamp_min(0).mean()), place, 0) for place, one in enumerate(worth)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while len(chosen) < beams:
        value, place, known = heapq.heappop(queue)
        if known == len(chosen):
            chosen.append(place)
            best = torch.maximum(best, worth[place])
        else:
            value = -float((worth[place] - best).clamp_min(0).mean())
            heapq.heappush(queue, (value, place, len(chosen)))
    return torch.tensor(chosen)


def eigenvectors(rows: torch.Tensor, beams: int) -> torch.Tensor:
    """
    Each link's own best beam, of the `beams` links with the most to gain, (beams, elements) complex64.

    What SSB-Encoder takes for the beams of a genie: the right singular vectors with the largest singular values.
    """
    if not 1 <= beams <= len(rows):
        raise SizeError(f"{beams} beams of {len(rows)} links; ask for 1 to {len(rows)}")
    values, own = own_beams(rows)
    return own[values.argsort(descending=True, stable=True)[:beams]]


def own_beams(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest eigenvalue (links,) of each link's covariance and its eigenvector (links, elements), by its rows."""
    flat = torch.complex(rows[:, :, 0], rows[:, :, 1])  # (links, m, elements)
    values, left = torch.linalg.eigh(flat @ flat.mH)
    found = (left[:, None, :, -1].conj() @ flat)[:, 0].conj()  # w = A^H u / s
    return values[:, -1], found / found.norm(dim=1, keepdim=True)
