"""
What the method ``beams`` does: Adam on the beams themselves, from the greedy order of a DFT pool.

For links u with the bound b_u and the first K beams, the loss is the mean over u of
``-tau log sum over k <= K of exp(log(g_uk / b_u) / tau)``, whose temperature tau falls; the objective sums it over the
sizes K (section 3 of the SSB-Encoder follow-ups takes the same soft maximum; the sum over prefixes is ours).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.codebooks.dft import dft
from anysize.beams.codebooks.gains import gains
from anysize.beams.codebooks.greedy import greedy
from anysize.beams.codebooks.hardware import TINY, made_of
from anysize.beams.codebooks.model import NestedCodebook
from anysize.beams.codebooks.tree import TreeCodebook
from anysize.beams.methods import Beams
from anysize.core.data.data import Data
from anysize.core.losses.nested import nested_loss
from anysize.core.model.contract import NestedModel
from anysize.core.progress import bar
from anysize.core.registry import named
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


def fit(method: Beams, data: Data, workdir: Path, resume: bool) -> NestedModel:
    """Learn from the drops of `data` that are not held out; seconds, so `resume` begins anew."""
    learnt = channels_of(data).split()[0]
    if method.averaging == "coherent":
        learnt = learnt.coherent()
    if method.from_ == "reports":
        made: NestedModel = named("anysize.beams.encoder.fit:fit")(method, learnt)
    else:
        made = learn(method, learnt)
    made.about = {"learnt_from": "links", "rows": len(learnt), **made.about}
    return made.eval()


def begun(channels: Channels, nesting: Nesting, pool: int) -> torch.Tensor:
    """The beams that learning begins with: the greedy order of an oversampled DFT grid, (K, elements)."""
    beams = dft(channels.panel, pool)
    return beams[greedy(channels.rows, beams, nesting.full["beams"])]


def learn(method: Beams, channels: Channels, start: torch.Tensor | None = None) -> NestedCodebook:
    """The learnt book, from beams `start` (K, elements) on. Raises `SizeError` for more beams than the pool has."""
    nesting = Nesting(beams=method.beams)
    beams = begun(channels, nesting, method.pool) if start is None else start

    def loss(beams: torch.Tensor, rows: torch.Tensor, tau: float) -> torch.Tensor:
        return nested_loss(nesting, partial(soft_loss, _share(channels, rows, beams), tau)).total

    return NestedCodebook.of(_learnt(method, channels, beams, loss), channels.panel, method.beams, method.hardware)


def learn_tree(method: Beams, channels: Channels, levels: tuple[int, int]) -> TreeCodebook:
    """
    A tree whose two levels are learnt together, from the grown one on (X-BM trains its two books end to end; its loss
    could not be read, and this is ours).

    A link takes the soft maximum of a coarse beam's children, as likely as the soft maximum takes that coarse beam.
    """
    tree = TreeCodebook.grown(channels, levels)
    coarse, children = tree.fine.shape[:2]

    def loss(beams: torch.Tensor, rows: torch.Tensor, tau: float) -> torch.Tensor:
        share = _share(channels, rows, beams) / tau
        below = torch.logsumexp(share[:, coarse:].unflatten(1, (coarse, children)), dim=2)
        return -tau * (share[:, :coarse].softmax(1) * below).sum(1).mean()

    made = _learnt(method, channels, torch.cat([tree.coarse, tree.fine.flatten(0, 1)]), loss)
    return TreeCodebook(made[:coarse], made[coarse:].unflatten(0, (coarse, children)))


def _learnt(
    method: Beams, channels: Channels, start: torch.Tensor, loss: Callable[[torch.Tensor, torch.Tensor, float], Any]
) -> torch.Tensor:
    """Beams (k, elements) after the method's steps of Adam on ``loss(beams, links, tau)``, while tau falls."""
    free = torch.nn.Parameter(torch.view_as_real(start).clone())
    optimizer = torch.optim.Adam([free], lr=method.learning_rate)
    generator = torch.Generator().manual_seed(method.seed)
    batch = min(method.batch_links, len(channels))
    with bar(method.steps, "learning beams", " steps") as shown:
        for step in range(method.steps):
            rows = torch.randperm(len(channels), generator=generator)[:batch]
            tau = method.warm * (method.cold / method.warm) ** (step / max(1, method.steps - 1))
            total = loss(made_of(free, method.hardware), rows, tau)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            shown.update(1)
    with torch.no_grad():
        return made_of(free, method.hardware)


def _share(channels: Channels, rows: torch.Tensor, beams: torch.Tensor) -> torch.Tensor:
    """Log of the share of its bound that each of some links has in each beam, (links, k)."""
    return (gains(channels.rows[rows], beams) / channels.bound[rows, None]).clamp_min(TINY).log()


def soft_loss(share: torch.Tensor, tau: float, size: Size) -> torch.Tensor:
    """Minus the soft maximum over the first beams of the log of the share of the bound (links, K), in nepers."""
    return -tau * torch.logsumexp(share[:, : size["beams"]] / tau, dim=1).mean()
