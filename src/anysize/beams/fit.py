"""
What the method ``beams`` does: Adam on the beams themselves, from the greedy order of a DFT pool.

For links u with the bound b_u and the first K beams, the loss is the mean over u of
``-tau log sum over k <= K of exp(log(g_uk / b_u) / tau)``, whose temperature tau falls; the objective sums it over the
sizes K (section 3 of the SSB-Encoder follow-ups takes the same soft maximum; the sum over prefixes is ours).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.codebooks.dft import dft
from anysize.beams.codebooks.gains import gains
from anysize.beams.codebooks.greedy import greedy
from anysize.beams.codebooks.hardware import TINY, made_of
from anysize.beams.codebooks.model import NestedCodebook
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


def learn(method: Beams, channels: Channels) -> NestedCodebook:
    """The learnt book. Raises `SizeError` for more beams than the pool has."""
    nesting = Nesting(beams=method.beams)
    free = torch.nn.Parameter(torch.view_as_real(begun(channels, nesting, method.pool)).clone())
    optimizer = torch.optim.Adam([free], lr=method.learning_rate)
    generator = torch.Generator().manual_seed(method.seed)
    batch = min(method.batch_links, len(channels))
    with bar(method.steps, "learning beams", " steps") as shown:
        for step in range(method.steps):
            rows = torch.randperm(len(channels), generator=generator)[:batch]
            found = gains(channels.rows[rows], made_of(free, method.hardware))
            share = (found / channels.bound[rows, None]).clamp_min(TINY).log()
            tau = method.warm * (method.cold / method.warm) ** (step / max(1, method.steps - 1))
            total = nested_loss(nesting, partial(soft_loss, share, tau)).total
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            shown.update(1)
    with torch.no_grad():
        return NestedCodebook.of(made_of(free, method.hardware), channels.panel, method.beams, method.hardware)


def soft_loss(share: torch.Tensor, tau: float, size: Size) -> torch.Tensor:
    """Minus the soft maximum over the first beams of the log of the share of the bound (links, K), in nepers."""
    return -tau * torch.logsumexp(share[:, : size["beams"]] / tau, dim=1).mean()
