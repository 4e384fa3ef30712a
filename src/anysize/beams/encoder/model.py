"""
The SSB-Encoder (Dreifuerst, Heath and Yazdan, arXiv 2204.06064): reports in, the next book out, its beams in order.

The paper does not give the network's sizes; these are ours: two convolutions, a latent of 64 numbers, and a beam
for each place of the book, added to a book of the site that was learnt before. One network serves every length of
sweep: its first K beams are the K-beam book.

With the axis ``bits`` the latent is so many signs, and it is nested too: its first 8 bits are a coarser latent. Then
what collects the reports need not be what makes the books: it sends as many bits a drop as there is room for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.gains import decibels, gains
from anysize.beams.codebooks.hardware import made_of
from anysize.beams.codebooks.model import TX_DBM, NestedCodebook, of_panel
from anysize.beams.codebooks.reports import Report, Swept, beam_report, index_bits, measured, told
from anysize.beams.encoder.observing import FACTS, GRID, PICTURES, halves, observe
from anysize.core.errors import SizeError
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

_WIDTH, _LATENT, _MAPS = 128, 64, 16


class Signs(torch.nn.Module):
    """-1 or 1 for each number, a bit; its gradient is that of the hyperbolic tangent (straight through)."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Bits of the shape of `values`."""
        soft = values.tanh()
        return soft + (torch.where(values < 0, -1.0, 1.0) - soft).detach()


class SSBEncoder(NestedModel):
    """
    Makes the book of the next sweep from what users report of the last one.

    Given channels, it lets one half of each drop's links report a sweep of `swept`, and the other half use the book
    that it makes of that, and the other way round: every link is a user who joined after the reports.
    """

    kind: ClassVar[str] = "ssb-encoder"
    reads: ClassVar[tuple[str, ...]] = ("channel",)
    gives: ClassVar[str] = "reports"
    evaluators: tuple[str, ...] = ("gain",)
    rivals: ClassVar[Mapping[str, str]] = {
        "dft": "anysize.beams.measuring.rivals:sub_array",
        "greedy": "anysize.beams.measuring.rivals:greedy_order",
        "site": "anysize.beams.encoder.rivals:site",
        "genie": "anysize.beams.encoder.rivals:genie",
        "single": "anysize.extending:single",
    }
    usual: ClassVar[tuple[str, ...]] = ("dft",)
    panels: ClassVar[tuple[str, ...]] = NestedCodebook.panels[:2]
    exports: ClassVar[Mapping[str, str]] = {"npz": "anysize.beams.encoder.export:npz"}

    def __init__(self, nesting: Nesting, panel: Panel, hardware: str, sweep: int) -> None:
        super().__init__(nesting)
        if nesting.axes not in (("beams",), ("beams", "bits")):
            raise SizeError(f"books of reports are nested in beams, or beams and bits; got {', '.join(nesting.axes)}")
        self.panel, self.hardware = panel, hardware
        beams, out, latent = nesting.full["beams"], 2 * panel.elements, nesting.full.get("bits", _LATENT)
        self.swept = torch.nn.Parameter(torch.zeros(sweep, panel.elements, 2), requires_grad=False)
        self.see = torch.nn.Sequential(
            torch.nn.Conv2d(PICTURES, _MAPS, 3, padding=1), torch.nn.GELU(),
            torch.nn.Conv2d(_MAPS, _MAPS, 3, stride=2, padding=1), torch.nn.GELU(), torch.nn.Flatten(),
        )  # fmt: skip
        self.think = torch.nn.Sequential(
            torch.nn.Linear(_MAPS * (GRID // 2) ** 2 + FACTS, _WIDTH), torch.nn.GELU(),
            torch.nn.Linear(_WIDTH, latent), Signs() if "bits" in nesting.axes else torch.nn.GELU(),
            torch.nn.Linear(latent, _WIDTH), torch.nn.GELU(),
        )  # fmt: skip
        self.site = torch.nn.Parameter(torch.zeros(beams, out))
        self.turn = torch.nn.Parameter(torch.zeros(beams, out, _WIDTH))

    def latent(self, pictures: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
        """What the network makes of pictures (groups, 3, GRID, GRID) and facts (groups, 4); with bits, -1 and 1."""
        bits: int | None = self.size.get("bits")
        found: torch.Tensor = self.think[:4](torch.cat([self.see(pictures), facts], dim=1))
        return found[:, :bits]

    def decoded(self, latent: torch.Tensor, beams: int | None = None) -> torch.Tensor:
        """The books (groups, beams, elements) of latents; of one that was cut to its first bits, all the same."""
        beams = self.size["beams"] if beams is None else beams
        widen = cast(torch.nn.Linear, self.think[4])
        read = torch.nn.functional.linear(latent, widen.weight[:, : latent.shape[1]], widen.bias)
        thought = torch.nn.functional.gelu(read)
        free = self.site[:beams] + torch.einsum("gw,bow->gbo", thought, self.turn[:beams])
        found = made_of(free.flatten(0, 1).unflatten(1, (self.panel.elements, 2)), self.hardware)
        return found.unflatten(0, (len(latent), beams))

    @property
    def first(self) -> NestedCodebook:
        """The book of the first sweep, before anybody reported."""
        return NestedCodebook.of(torch.view_as_complex(self.swept.detach()), self.panel)

    @torch.no_grad()
    def next_book(self, report: Report, swept: torch.Tensor) -> NestedCodebook:
        """The book to sweep next, for reports on beams (k, elements), at this size."""
        pictures, facts = observe(self.panel, swept, report)
        book = self.decoded(self.latent(pictures[None], facts[None]))[0]
        return NestedCodebook.of(book, self.panel, self.nesting.up_to(self.size).values("beams"), self.hardware)

    def heard(self, channels: Channels) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Each link's group, and pictures and facts of the reports of the other half of its drop, a group each."""
        groups = halves(channels.drops)
        powers = measured(channels.rows, channels.power, torch.view_as_complex(self.swept.detach()), TX_DBM)
        pictures, facts = [], []
        for group in range(groups.max() + 1):
            others = torch.from_numpy(np.flatnonzero(groups == (group ^ 1)))
            one, said = observe(self.panel, torch.view_as_complex(self.swept.detach()), beam_report(powers[others]))
            pictures.append(one)
            facts.append(said)
        return torch.from_numpy(groups), torch.stack(pictures), torch.stack(facts)

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Array gains in dB (links, beams) of each link with the book that the reports of others make."""
        channels = of_panel(example, self.panel)
        groups, pictures, facts = self.heard(channels)
        most, found = max(size["beams"] for size in asked), {}
        for bits in {size.get("bits") for size in asked}:
            latents = self.latent(pictures, facts)[:, :bits]
            found[bits] = torch.zeros(len(channels), most)
            for group, book in enumerate(self.decoded(latents, most)):
                own = groups == group
                found[bits][own] = decibels(gains(channels.rows[own], book))
        return {size: found[size.get("bits")][:, : size["beams"]] for size in asked}

    @torch.no_grad()
    def sweep(self, channels: Channels) -> Swept:
        """The beam that each link finds best in the book that the reports of others make."""
        channels, beams = of_panel(channels, self.panel), self.size["beams"]
        gain, index = (10 ** (self(channels) / 10)).max(1)
        groups, pictures, facts = self.heard(channels)
        return Swept(index, gain, self.decoded(self.latent(pictures, facts)), index_bits(beams), beams, groups)

    def run(self, items: Any, *, side: Any = None, tx_dbm: float = TX_DBM) -> list[dict[str, Any]]:
        """What each link reports of the next sweep: the index of its best beam, its RSRP in dBm, the bits of both."""
        channels = of_panel(items, self.panel)
        with torch.no_grad():
            report = beam_report(self(channels) + decibels(channels.power)[:, None] + tx_dbm)
        return told(report)

    def cost(self) -> Cost:
        """Bytes of a link's index, and of the latent's bits if it has some; the network's weights; making a book."""
        beams, out, bits = self.size["beams"], 2 * self.panel.elements, self.size.get("bits", 0)
        latent = bits or _LATENT
        seen = sum(one.numel() for one in self.see.parameters())
        joined = (_MAPS * (GRID // 2) ** 2 + FACTS + 1 + latent + 1) * _WIDTH + latent * (_WIDTH + 1)
        convolved = 2 * 9 * (PICTURES * _MAPS * GRID**2 + _MAPS * _MAPS * (GRID // 2) ** 2)
        own = beams * out * (1 + _WIDTH)
        size = math.ceil(index_bits(beams) / 8) + math.ceil(bits / 8)
        return Cost(size, parameters=seen + joined + own, flops=convolved + 2 * joined + 2 * own)

    def config(self) -> dict[str, Any]:
        """The panel, the hardware, and the beams of the first sweep."""
        return {"panel": self.panel.to_json(), "hardware": self.hardware, "sweep": len(self.swept)}

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """An untrained one."""
        return cls(nesting, Panel.from_json(config["panel"], "the saved model"), config["hardware"], config["sweep"])

    @classmethod
    def facts(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The panel and the first sweep, in words."""
        panel = Panel.from_json(config["panel"], "the saved model")
        return {"panel": str(panel), "hardware": config["hardware"], "first sweep": f"{config['sweep']} beams"}

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """What makes each beam is cut one after the other, and so are the bits of the latent."""
        found = {"site": ("beams", 0), "turn": ("beams", 0)}
        if "bits" in self.nesting.axes:
            found |= {"think.2.weight": ("bits", 0), "think.2.bias": ("bits", 0), "think.4.weight": ("bits", 1)}
        return found
