"""An evaluator: what is measured at every size of a model, on which data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.frontier.record import Record


class Evaluator:
    """What every evaluator says; registered by name in the entry-point group ``anysize.evaluators``."""

    metric: ClassVar[str]
    """The main metric; higher is better."""

    usual: ClassVar[tuple[str, ...] | None] = None
    """Rivals to stand beside without being asked; None for those that the model names."""

    def accepts(self, data: Data) -> bool:
        """Whether these data suffice to measure by."""
        raise NotImplementedError

    def describe(self, data: Data, *, held_out: bool) -> dict[str, Any]:
        """What is measured, for the frontier's caption."""
        raise NotImplementedError

    def evaluate(self, views: Mapping[str, Sequence[Any]], data: Data, *, held_out: bool = False) -> list[Record]:
        """Arm -> its views at the sizes asked for; one record of each. `held_out`: only what training left out."""
        raise NotImplementedError
