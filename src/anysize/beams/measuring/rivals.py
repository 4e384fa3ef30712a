"""What a learnt book stands beside: the standard wide beams, a greedy choice of DFT beams, and a tree of beams."""

from __future__ import annotations

import math
from typing import Any

from anysize.beams.channels.channels import Channels, channels_of
from anysize.beams.codebooks.dft import dft, wide
from anysize.beams.codebooks.greedy import greedy
from anysize.beams.codebooks.model import NestedCodebook
from anysize.beams.codebooks.tree import TreeCodebook
from anysize.core.data.data import Data
from anysize.core.verbs.rivals import check_same_data

OVERSAMPLING = 4


def sub_array(model: Any, data: Data) -> list[NestedCodebook]:
    """The rival ``dft``: as many wide beams of a sub-array as the sweep has, in a grid of angles; it learns nothing."""
    return [NestedCodebook.of(wide(model.panel, size["beams"]), model.panel) for size in model.nesting]


def greedy_order(model: Any, data: Data) -> list[NestedCodebook]:
    """The rival ``greedy``: beams of a 4-times oversampled DFT grid, in the greedy order of the learnt drops."""
    learnt, pool = _learnt(model, data, "greedy"), dft(model.panel, OVERSAMPLING)
    sizes = [size["beams"] for size in model.nesting]
    book = NestedCodebook.of(pool[greedy(learnt.rows, pool, sizes[-1])], model.panel, sizes)
    return [book.at(size) for size in model.nesting]


def tree(model: Any, data: Data) -> list[TreeCodebook]:
    """
    The rival ``tree``: a tree of beams for each number of leaves, with about the square root of them on top.

    It costs as many feedback bits as the flat book, and fewer slots of a sweep.
    """
    learnt = _learnt(model, data, "tree")
    return [TreeCodebook.grown(learnt, levels(size["beams"])) for size in model.nesting]


def levels(leaves: int) -> tuple[int, int]:
    """Coarse beams and leaves: the coarse ones are the smallest divisor that is not below the square root."""
    coarse = next(one for one in range(1, leaves + 1) if leaves % one == 0 and one >= math.sqrt(leaves))
    return coarse, leaves


def _learnt(model: Any, data: Data, arm: str) -> Channels:
    check_same_data(model, data, arm)
    return channels_of(data).split()[0]
