"""What the page of a frontier shows beside its chart, as the model's kind has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anysize.core.data.read import Source, read
from anysize.core.registry import named
from anysize.core.verbs.left_out import leaving_out

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.frontier.frontier import Frontier
    from anysize.core.frontier.panel import Panel
    from anysize.core.model.contract import NestedModel


def panels(model: NestedModel, data: Source, frontier: Frontier) -> list[Panel]:
    """The panels of a model that was measured on `data` with the result `frontier`, for `Frontier.to_html`."""

    def made(data: Data) -> list[Panel]:
        found = (named(name)(model, data, frontier) for name in model.panels)
        return [panel for panel in found if panel is not None]

    return leaving_out(read(data), made)
