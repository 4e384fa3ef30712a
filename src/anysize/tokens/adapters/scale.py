"""What an adapter is told of a size: a scale, such as one number of tokens a picture, or two rates of frames."""

from __future__ import annotations

from typing import Protocol

from anysize.core.sizes.size import Size

FILL = 0
"""A place of a row that only fills it up; whatever else a place may hold has another number."""


class Scaled(Protocol):
    """One scale. That of speech is `Scale`, that of pictures `Grain`."""

    @property
    def name(self) -> str:
        """What its adapters and routers are called."""

    @property
    def least(self) -> Size:
        """The smallest size that has it."""
