"""
An evaluator: what is measured of a model, on which data.

It says what is measured once (`prepare`) and measures one arm at one size (`score`); arms, sizes, records and times are
the business of `anysize.core.verbs.measure`. Its fields, if it is a dataclass, are its options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np

    from anysize.core.data.data import Data
    from anysize.core.frontier.timing import Scan
    from anysize.core.model.contract import NestedModel
    from anysize.core.sizes.size import Size


@dataclass
class Task:
    """What is measured on, the same for every arm and size."""

    said: str
    """What it is, in one sentence: the frontier's caption."""
    metric: str
    """The main metric."""
    units: str
    """What each value of `Scores.units` belongs to: queries, pairs, rows."""
    on: Any
    """What the evaluator made of the data; what it keeps from one view to the next is kept here too."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else belongs into the frontier's description, by name."""
    notes: tuple[str, ...] = ()
    """What a reader should know before trusting the figures."""
    original: Any = None
    """The untouched model, where it stands among the arms."""
    scratch: Path | None = None
    """A folder that goes when all is measured."""


@dataclass(frozen=True)
class Scores:
    """What one arm achieves at one size."""

    units: Mapping[str, np.ndarray]
    """Metric -> a value for each unit, whose mean is the metric: intervals come from these."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Those that are not the mean of their units, or have none."""
    run: Callable[[], object] | Scan | None = None
    """One query, to be timed."""
    bytes: int | None = None
    """Per item, where the data decide it; else, as of the next two, what the view's `cost` says."""
    parameters: int | None = None
    flops: int | None = None
    quantiles: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Metric -> its values over the units at equal steps of rank, least first, where a page draws them."""


class Evaluator:
    """What every evaluator says; registered by name in the entry-point group ``anysize.evaluators``."""

    face: ClassVar[type]
    """What it asks of a model, of `anysize.core.model.faces`: anything that has this face can be measured."""

    needs: ClassVar[str]
    """What data must hold, in words, for `accepts`."""

    def accepts(self, data: Data) -> bool:
        """Whether these data suffice to measure by."""
        raise NotImplementedError(f"{type(self).__name__} does not say which data suffice")

    def arms(self, model: NestedModel, sizes: Sequence[Size]) -> Mapping[str, Sequence[Any]]:
        """Arms of its own beside the model's: a name -> its views. None, unless an option asks for them."""
        return {}

    def prepare(self, data: Data, held_out: bool = False) -> Task:
        """
        What is measured on. `held_out`: only what training left out.

        Raises `DataError` where these data offer nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it measures on")

    def score(self, view: Any, task: Task) -> Scores:
        """What a view, a model at one of its sizes, achieves."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it scores")
