"""What a learnt book stands beside: the standard wide beams, a greedy choice of DFT beams, and a tree of beams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.codebooks.dft import dft, wide
from anysize.beams.codebooks.greedy import greedy
from anysize.beams.codebooks.model import NestedCodebook
from anysize.beams.codebooks.reports import Swept
from anysize.beams.codebooks.tree import TreeCodebook
from anysize.beams.fit import learn_tree
from anysize.beams.measuring.evaluator import Sweeps
from anysize.core.data.data import Data
from anysize.core.model.cost import Cost
from anysize.core.sizes.size import Size
from anysize.core.verbs.rivals import check_same_data, method_of

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel

OVERSAMPLING = 4


@dataclass
class Standing:
    """A book that stands beside the size of a model that is nested in bits too, which the book does not read."""

    size: Size
    book: Sweeps

    def sweep(self, channels: Channels) -> Swept:
        """The book's."""
        return self.book.sweep(channels)

    def cost(self) -> Cost:
        """The book's."""
        return self.book.cost()


def beside(model: NestedModel, books: Sequence[Sweeps]) -> list[Sweeps]:
    """Books of each number of beams as views of a rival: as they are, or at all bits of a model that has some."""
    if model.nesting.axes == ("beams",):
        return list(books)
    return [Standing(model.nesting.full.replace(beams=one.size["beams"]), one) for one in books]


def sub_array(model: Any, data: Data) -> list[Sweeps]:
    """The rival ``dft``: as many wide beams of a sub-array as the sweep has, in a grid of angles; it learns nothing."""
    beams = model.nesting.values("beams")
    return beside(model, [NestedCodebook.of(wide(model.panel, count), model.panel) for count in beams])


def greedy_order(model: Any, data: Data) -> list[Sweeps]:
    """The rival ``greedy``: beams of a 4-times oversampled DFT grid, in the greedy order of the learnt drops."""
    learnt, pool = _learnt(model, data, "greedy"), dft(model.panel, OVERSAMPLING)
    sizes = model.nesting.values("beams")
    book = NestedCodebook.of(pool[greedy(learnt.rows, pool, sizes[-1])], model.panel, sizes)
    return beside(model, [book[:count] for count in sizes])


def tree(model: Any, data: Data) -> list[TreeCodebook]:
    """
    The rival ``tree``: a tree of beams for each number of leaves, with about the square root of them on top.

    It costs as many feedback bits as the flat book, and fewer slots of a sweep.
    """
    learnt = _learnt(model, data, "tree")
    return [TreeCodebook.grown(learnt, levels(size["beams"])) for size in model.nesting]


def learnt_tree(model: Any, data: Data) -> list[TreeCodebook]:
    """The rival ``learnt-tree``: the same trees, whose two levels are then learnt together (X-BM, arXiv 2312.02178)."""
    learnt, method = _learnt(model, data, "learnt-tree"), method_of(model)
    return [learn_tree(method, learnt, levels(size["beams"])) for size in model.nesting]


def levels(leaves: int) -> tuple[int, int]:
    """Coarse beams and leaves: the coarse ones are the smallest divisor that is not below the square root."""
    coarse = next(one for one in range(1, leaves + 1) if leaves % one == 0 and one >= math.sqrt(leaves))
    return coarse, leaves


def _learnt(model: Any, data: Data, arm: str) -> Channels:
    check_same_data(model, data, arm)
    return channels_of(data).split()[0]
