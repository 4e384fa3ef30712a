"""The model within a quantised one: built without weights, its sizes, what it costs in floats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch

from anysize.core.model.contract import NestedModel
from anysize.core.model.cost import Cost
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.quantize.layers.stored import Stored, StoredLinear

BITS = "bits"


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """
    Models that are built in here have parameters without content, but all their buffers.

    Loading gives content to all. Else a model to be read at 2 bits would first stand there in 32.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        yield


def inner_nesting(nesting: Nesting, fixed: Mapping[str, int]) -> Nesting:
    """The sizes of the inner model that a nesting reaches: its own without bits, beside the axes that are fixed."""
    sizes = {Size({**fixed, **{axis: size[axis] for axis in size if axis != BITS}}) for size in nesting}
    return Nesting.pairs(sorted(sizes, key=lambda size: tuple(size.values())))


def plain_costs(inner: NestedModel) -> dict[Size, Cost]:
    """What the inner model costs with float layers, at each of its sizes."""
    return {size: inner.at(size).cost() for size in inner.nesting}


def floating(part: Stored, bits: int) -> torch.nn.Module:
    """The ordinary layer that codes stand for at a width."""
    if isinstance(part, StoredLinear):
        weight, bias = part.parts(bits)
        linear = torch.nn.Linear(part.features, part.rows, bias=bias is not None, device="meta")
        linear.weight = torch.nn.Parameter(weight.detach().clone())
        if bias is not None:
            linear.bias = torch.nn.Parameter(bias.detach().clone())
        return linear.eval()
    table = torch.nn.Embedding(part.rows, part.features, device="meta")
    table.weight = torch.nn.Parameter(part.floats(bits))
    return table.eval()
