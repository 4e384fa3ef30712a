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

USERS, DROPS = 48, 8
"""Users of a drop that a step looks at, half of whom report; and drops of a step."""


def fit(method: Beams, channels: Channels) -> SSBEncoder:
    """
    A network for one kind of site, from drops of users: it begins with the site's own nested book.

    Each step draws users of some drops; half of them report the first sweep, a standard one of wide beams, and the book
    that the network makes is scored on all, so that users who did not report are served too.
    """
    nesting = Nesting(beams=method.beams)
    torch.manual_seed(method.seed)
    made = SSBEncoder(nesting, channels.panel, method.hardware, method.sweep)
    swept, site = wide(channels.panel, method.sweep), learn(method, channels)
    with torch.no_grad():
        made.swept.copy_(torch.view_as_real(swept))
        made.site.copy_(torch.view_as_real(site.beams).flatten(1))
    powers = measured(channels.rows, channels.power, swept, TX_DBM)
    members = [np.flatnonzero(channels.drops == drop) for drop in np.unique(channels.drops)]
    users = min(USERS, min(map(len, members)))
    draw = np.random.default_rng(method.seed)
    optimizer = torch.optim.Adam([one for one in made.parameters() if one.requires_grad], lr=method.learning_rate / 30)
    calm = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, method.rounds)
    with bar(method.rounds, "training the encoder", " steps") as shown:
        for _ in range(method.rounds):
            chosen = draw.choice(len(members), min(DROPS, len(members)), replace=False)
            rows = np.stack([draw.choice(members[place], users, replace=False) for place in chosen])
            seen = [observe(channels.panel, swept, beam_report(powers[one[: max(1, users // 2)]])) for one in rows]
            pictures, facts = (torch.stack(part) for part in zip(*seen, strict=True))
            books = made.books(pictures, facts)
            share = shares(channels, torch.from_numpy(rows), books)
            total = nested_loss(nesting, partial(soft_loss, share, method.cold)).total
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            calm.step()
            shown.update(1)
    return made


def shares(channels: Channels, rows: torch.Tensor, books: torch.Tensor) -> torch.Tensor:
    """Log of the share of the bound of links (groups, n) with the books (groups, k, elements): (groups x n, k)."""
    groups, users = rows.shape
    flat = channels.rows[rows.flatten()].flatten(2).reshape(groups, -1, 2 * channels.panel.elements)
    real, imag = books.real.mT, books.imag.mT  # (groups, elements, k)
    weights = torch.cat([torch.cat([real, imag], 2), torch.cat([-imag, real], 2)], 1)
    heard = (flat @ weights).square().reshape(groups * users, -1, 2, books.shape[1]).sum((1, 2))
    return (heard / channels.bound[rows.flatten(), None]).clamp_min(TINY).log()
