"""The nested codebook: beams in an order in which the first few are a book of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from anysize.beams.channels.channels import Channels
from anysize.beams.channels.panel import Panel
from anysize.beams.codebooks.gains import decibels, gains
from anysize.beams.codebooks.reports import Swept, beam_report, index_bits, measured, told
from anysize.core.errors import DataError, SizeError
from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size

TX_DBM = 30.0
"""What all elements together send, in dBm, where nobody says otherwise: only the reported power depends on it."""


def of_panel(given: Any, panel: Panel) -> Channels:
    """`given` as channels of a panel. Raises `DataError` for those of another."""
    found = given if isinstance(given, Channels) else Channels.checked(given, panel)
    if (found.panel.rows, found.panel.columns) != (panel.rows, panel.columns):
        raise DataError(f"these channels are of a panel of {found.panel}; this book is for one of {panel}")
    return found


class NestedCodebook(NestedModel):
    """
    Beams (K, elements) of unit norm for one panel; a smaller size is the book of the first so many.

    ``book[:8]`` is ``book.at(beams=8)``, ``book.beams`` its weights. Reads channels, and gives what each link reports.
    """

    kind: ClassVar[str] = "codebook"
    reads: ClassVar[tuple[str, ...]] = ("channel",)
    gives: ClassVar[str] = "reports"
    evaluators: tuple[str, ...] = ("gain",)
    rivals: ClassVar[Mapping[str, str]] = {
        "dft": "anysize.beams.measuring.rivals:sub_array",
        "greedy": "anysize.beams.measuring.rivals:greedy_order",
        "tree": "anysize.beams.measuring.rivals:tree",
        "learnt-tree": "anysize.beams.measuring.rivals:learnt_tree",
        "single": "anysize.extending:single",
    }
    usual: ClassVar[tuple[str, ...]] = ("dft",)
    panels: ClassVar[tuple[str, ...]] = (
        "anysize.beams.measuring.panels:by_bits",
        "anysize.beams.measuring.panels:by_link",
        "anysize.beams.measuring.panels:patterns",
    )
    exports: ClassVar[Mapping[str, str]] = {
        "npz": "anysize.beams.codebooks.export:npz",
        "csv": "anysize.beams.codebooks.export:csv",
        "mat": "anysize.beams.codebooks.export:mat",
        "nr-type1-indices": "anysize.beams.codebooks.export:nr_type1_indices",
    }

    def __init__(self, nesting: Nesting, panel: Panel, hardware: str = "full") -> None:
        super().__init__(nesting)
        if nesting.axes != ("beams",):
            raise SizeError(f"a codebook is nested in beams; got {', '.join(nesting.axes)}")
        self.panel, self.hardware = panel, hardware
        self.weights = torch.nn.Parameter(torch.zeros(nesting.full["beams"], panel.elements, 2))

    @classmethod
    def of(cls, beams: torch.Tensor, panel: Panel, sizes: Sequence[int] | None = None, hardware: str = "full") -> Self:
        """A book of given beams (k, elements) complex, whose sizes are these lengths; all beams alone if none."""
        book = cls(Nesting(beams=tuple(sizes or (len(beams),))), panel, hardware)
        if beams.shape != (book.nesting.full["beams"], panel.elements):
            raise SizeError(
                f"beams of shape {tuple(beams.shape)} for a panel of {panel} and sizes up to "
                f"{book.nesting.full['beams']}; expected ({book.nesting.full['beams']}, {panel.elements})"
            )
        with torch.no_grad():
            book.weights.copy_(torch.view_as_real(beams / beams.norm(dim=1, keepdim=True)))
        return book.eval()

    @property
    def beams(self) -> torch.Tensor:
        """(k, elements) complex64 of unit norm: the book at this size."""
        return torch.view_as_complex(self.weights[: self.size["beams"]].contiguous())

    def __len__(self) -> int:
        return int(self.size["beams"])

    def __getitem__(self, place: slice) -> Self:
        """``book[:8]``. Raises `SizeError` for a size that was not trained, `TypeError` for anything but a prefix."""
        if not isinstance(place, slice) or place.start not in (None, 0) or place.step not in (None, 1):
            raise TypeError("a nested book is cut from its first beam on: book[:8]")
        return self.at(beams=len(self) if place.stop is None else place.stop)

    def _outputs(self, example: Any, asked: Sequence[Size]) -> dict[Size, torch.Tensor]:
        """Array gains in dB (links, beams): those of a smaller size are the first ones of a larger."""
        largest = max(size["beams"] for size in asked)
        beams = torch.view_as_complex(self.weights[:largest].contiguous())
        found = decibels(gains(of_panel(example, self.panel).rows.to(self.weights.device), beams))
        return {size: found[:, : size["beams"]] for size in asked}

    def sweep(self, channels: Channels) -> Swept:
        """The beam that each link finds best among those of this size."""
        with torch.no_grad():
            gain, index = gains(of_panel(channels, self.panel).rows, self.beams).max(1)
        beams = self.size["beams"]
        return Swept(index, gain, self.beams.detach(), index_bits(beams), beams)

    def run(self, items: Any, *, side: Any = None, tx_dbm: float = TX_DBM) -> list[dict[str, Any]]:
        """What each link reports at this size: the index of its best beam, its RSRP in dBm, and the bits of both."""
        found = of_panel(items, self.panel)
        with torch.no_grad():
            report = beam_report(measured(found.rows, found.power, self.beams, tx_dbm))
        return told(report)

    def cost(self) -> Cost:
        """Bytes of a link's index; the weights of this book; what scoring all its beams on a channel takes."""
        beams, elements = self.size["beams"], self.panel.elements
        return Cost(math.ceil(index_bits(beams) / 8), parameters=2 * beams * elements, flops=8 * beams * elements)

    def config(self) -> dict[str, Any]:
        """The panel and the hardware."""
        return {"panel": self.panel.to_json(), "hardware": self.hardware}

    @classmethod
    def build(cls, config: dict[str, Any], nesting: Nesting) -> Self:
        """An empty book."""
        return cls(nesting, Panel.from_json(config["panel"], "the saved book"), config["hardware"])

    @classmethod
    def facts(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The panel and the hardware, in words."""
        panel = Panel.from_json(config["panel"], "the saved book")
        return {"panel": str(panel), "hardware": config["hardware"]}

    def nested_tensors(self) -> dict[str, tuple[str, int]]:
        """The beams are cut one after the other."""
        return {"weights": ("beams", 0)}

    def array(self) -> np.ndarray:
        """The beams of this size for numpy, (k, elements) complex64."""
        return np.ascontiguousarray(self.beams.detach().cpu().numpy())
