"""
Rates of links with the beams that they report, in bit/s/Hz.

One user: ``mean over subcarriers of log2(1 + snr |H_f w|^2)``. Several users at once: the strongest, then each time
the strongest whose beam overlaps little with those taken (semi-orthogonal users; Yoo and Goldsmith 2006); powers are
equal, and each user separates its beam from the others with a linear MMSE receiver.
"""

from __future__ import annotations

import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.codebooks.reports import Swept

_OVERLAP = 0.1
"""The most that ``|w^H w'|^2`` may be of two users who are served at once."""


def received(channels: Channels, links: torch.Tensor, beams: torch.Tensor) -> torch.Tensor:
    """What links hear of beams (k, elements), (links, subcarriers, rx, k), for elements of unit mean power."""
    values = torch.from_numpy(channels.values)[links]
    return (values @ beams.T) / channels.power[links, None, None, None].sqrt()


def single_user(channels: Channels, swept: Swept, snr_db: torch.Tensor) -> torch.Tensor:
    """The rate of each link alone, (links,)."""
    values = torch.from_numpy(channels.values)
    heard = torch.einsum("lsrt,lt->lsr", values, swept.taken()) / channels.power[:, None, None].sqrt()
    power = heard.abs().square().sum(2)  # (links, subcarriers)
    return (1 + 10 ** (snr_db[:, None] / 10) * power).log2().mean(1)


def multi_user(channels: Channels, swept: Swept, snr_db: torch.Tensor, users: int) -> float:
    """The mean over drops of the sum of the rates of up to `users` users of a drop that are served at once."""
    drops = torch.from_numpy(channels.drops)
    return float(torch.stack([_drop(channels, swept, snr_db, (drops == one).nonzero()[:, 0], users)
                              for one in drops.unique()]).mean())  # fmt: skip


def _drop(channels: Channels, swept: Swept, snr_db: torch.Tensor, links: torch.Tensor, users: int) -> torch.Tensor:
    strength = swept.gain[links] * 10 ** (snr_db[links] / 10)
    beams = swept.taken()
    chosen: list[int] = []
    for link in links[strength.argsort(descending=True, stable=True)].tolist():
        if len(chosen) < users and bool((beams[chosen].conj() @ beams[link]).abs().square().lt(_OVERLAP).all()):
            chosen.append(link)
    served = torch.tensor(chosen)
    snr = 10 ** (snr_db[served] / 10) / len(served)  # of each user's share of the power
    heard = received(channels, served, beams[served])  # (u, subcarriers, rx, u)
    heard = heard * snr.sqrt()[:, None, None, None]
    own = torch.diagonal(heard, dim1=0, dim2=3).permute(2, 0, 1)  # (u, subcarriers, rx)
    noise = torch.eye(heard.shape[2], dtype=heard.dtype)
    whole = heard @ heard.mH - own[..., None] * own[..., None, :].conj() + noise
    sinr = (own[..., None, :].conj() @ torch.linalg.solve(whole, own[..., None])).real[..., 0, 0]
    return (1 + sinr.clamp_min(0)).log2().mean(1).sum()
