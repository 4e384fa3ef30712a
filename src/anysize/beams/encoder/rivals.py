"""What the books that the encoder makes stand beside: one that never changes, and one that knows every channel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.codebooks.dft import dft
from anysize.beams.codebooks.gains import gains
from anysize.beams.codebooks.greedy import greedy
from anysize.beams.codebooks.reports import Swept, index_bits
from anysize.beams.encoder.observing import halves
from anysize.beams.fit import learn
from anysize.beams.measuring.evaluator import Sweeps
from anysize.beams.measuring.rivals import beside
from anysize.core.model.cost import Cost
from anysize.core.sizes.size import Size
from anysize.core.verbs.rivals import check_same_data, method_of

if TYPE_CHECKING:
    from anysize.beams.encoder.model import SSBEncoder
    from anysize.core.data.data import Data


def site(model: SSBEncoder, data: Data) -> list[Sweeps]:
    """The rival ``site``: the nested book of the site, whatever users report."""
    check_same_data(model, data, "site")
    made = learn(replace(method_of(model), from_="channels", bits=()), channels_of(data).split()[0])
    return beside(model, [made[:count] for count in model.nesting.values("beams")])


def genie(model: SSBEncoder, data: Data) -> list[Sweeps]:
    """The rival ``genie``: for the channels of those who report, the greedy choice of an oversampled grid of beams."""
    return beside(model, [Genie(Size(beams=count), model.cost) for count in model.nesting.values("beams")])


class Genie:
    """Knows the channels of one half of a drop, and makes the book of the other half of them: no radio does."""

    def __init__(self, size: Size, cost: Any) -> None:
        self.size, self._cost = size, cost

    @torch.no_grad()
    def sweep(self, channels: Channels) -> Swept:
        """The beam that each link finds best in the book for the others."""
        groups, beams, pool = halves(channels.drops), self.size["beams"], dft(channels.panel, 4)
        gain, index = torch.zeros(len(channels)), torch.zeros(len(channels), dtype=torch.long)
        books = torch.zeros(groups.max() + 1, beams, channels.panel.elements, dtype=pool.dtype)
        for group in range(len(books)):
            own, others = (torch.from_numpy(np.flatnonzero(groups == one)) for one in (group, group ^ 1))
            books[group] = pool[greedy(channels.rows[others if len(others) else own], pool, beams)]
            if len(own):
                gain[own], index[own] = gains(channels.rows[own], books[group]).max(1)
        return Swept(index, gain, books, index_bits(beams), beams, torch.from_numpy(groups))

    def cost(self) -> Cost:
        """That of the encoder, since none could be built."""
        found: Cost = self._cost()
        return found
