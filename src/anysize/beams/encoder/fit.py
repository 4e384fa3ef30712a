"""Training of the SSB-Encoder: reports of half of a drop's users in, the gain of all of them as the loss."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.codebooks.dft import wide
from anysize.beams.codebooks.hardware import TINY
from anysize.beams.codebooks.model import TX_DBM
from anysize.beams.codebooks.reports import beam_report, measured
from anysize.beams.encoder.model import SSBEncoder
from anysize.beams.encoder.observing import observe
from anysize.beams.fit import learn, soft_loss
from anysize.beams.methods import Beams
from anysize.core.losses.nested import nested_loss
from anysize.core.progress import bar
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

USERS, DROPS = 48, 8
"""Users of a drop that a step looks at, half of whom report; and drops of a step."""


def fit(method: Beams, channels: Channels) -> SSBEncoder:
    """
    A network for one kind of site, from drops of users: it begins with the site's own nested book.

    Each step draws users of some drops; half of them report the first sweep, a standard one of wide beams, and the book
    that the network makes is scored on all, so that users who did not report are served too. Of users who move, it is
    scored at their next positions. With `sweeps` above one, the first beams of that book are swept and reported next.
    """
    axes = {"beams": method.beams, **({"bits": method.bits} if method.bits else {})}
    nesting = Nesting(**axes)
    torch.manual_seed(method.seed)
    made = SSBEncoder(nesting, channels.panel, method.hardware, method.sweep)
    swept, site = wide(channels.panel, method.sweep), learn(method, channels)
    with torch.no_grad():
        made.swept.copy_(torch.view_as_real(swept))
        made.site.copy_(torch.view_as_real(site.beams).flatten(1))
    members = tracks(channels)
    users = min(USERS, min(one.shape[1] for one in members))
    draw = np.random.default_rng(method.seed)
    optimizer = torch.optim.Adam([one for one in made.parameters() if one.requires_grad], lr=method.learning_rate / 30)
    calm = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, method.rounds)
    with bar(method.rounds, "training the encoder", " steps") as shown:
        for _ in range(method.rounds):
            chosen = draw.choice(len(members), min(DROPS, len(members)), replace=False)
            taken = [members[place][:, draw.choice(members[place].shape[1], users, replace=False)] for place in chosen]
            optimizer.zero_grad()
            _follow(made, channels, taken, method, draw).backward()
            optimizer.step()
            calm.step()
            shown.update(1)
    return made


def tracks(channels: Channels) -> list[np.ndarray]:
    """For each drop the places of its links, (steps, users): one step, if its users do not move."""
    found = []
    for drop in np.unique(channels.drops):
        own = np.flatnonzero(channels.drops == drop)
        found.append(np.stack([own[channels.steps[own] == step] for step in np.unique(channels.steps[own])]))
    return found


def _follow(
    made: SSBEncoder, channels: Channels, taken: list[np.ndarray], method: Beams, draw: np.random.Generator
) -> torch.Tensor:
    """The loss of some drops, places (steps, users) of links each, over the sweeps that follow each other."""
    nesting, last = made.nesting, min(map(len, taken)) - 1
    start = int(draw.integers(max(1, last - method.sweeps + 1))) if last else 0
    beams = [torch.view_as_complex(made.swept)] * len(taken)
    total = torch.zeros(())
    for sweep in range(method.sweeps):
        now, then = (np.stack([one[min(start + step, last)] for one in taken]) for step in (sweep, sweep + 1))
        reporters = torch.from_numpy(now[:, : max(1, now.shape[1] // 2)])
        with torch.no_grad():
            powers = [measured(channels.rows[r], channels.power[r], b, TX_DBM)
                      for r, b in zip(reporters, beams, strict=True)]  # fmt: skip
        seen = [observe(made.panel, b, beam_report(one)) for b, one in zip(beams, powers, strict=True)]
        latent = made.latent(*(torch.stack(part) for part in zip(*seen, strict=True)))
        books = {bits: made.decoded(latent[:, :bits]) for bits in {size.get("bits") for size in nesting}}
        share = {bits: shares(channels, torch.from_numpy(then), book) for bits, book in books.items()}
        total = total + nested_loss(nesting, partial(_at, share, method.cold)).total
        if sweep + 1 < method.sweeps:
            count = draw.choice(method.beams)
            beams = list(books[nesting.full.get("bits")].detach()[:, :count])
    return total


def _at(share: dict[int | None, torch.Tensor], tau: float, size: Size) -> torch.Tensor:
    return soft_loss(share[size.get("bits")], tau, size)


def shares(channels: Channels, rows: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Log of the share of the bound of links (groups, n) with the books (groups, k, elements): (groups x n, k)."""
    groups, users = rows.shape
    flat = channels.rows[rows.flatten()].flatten(2).reshape(groups, -1, 2 * channels.panel.elements)
    real, imag = books.real.mT, books.imag.mT  # (groups, elements, k)
    weights = torch.cat([torch.cat([real, imag], 2), torch.cat([-imag, real], 2)], 1)
    heard = (flat @ weights).square().reshape(groups * users, -1, 2, books.shape[1]).sum((1, 2))
    return (heard / channels.bound[rows.flatten(), None]).clamp_min(TINY).log()
