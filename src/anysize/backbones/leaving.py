"""
One pass of a transformer in which each row leaves after its own number of blocks, so that depths can be mixed.

A batch that is run whole to its deepest row would make the shallow rows pay for all blocks. The blocks are run by the
model itself; before each of them, rows that need no more are taken out of what it is given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from anysize.backbones.blocks import Stack, shallow, truncated
from anysize.backbones.texts.batching import batches
from anysize.core.sides import Side

TOGETHER = 64
"""Texts of a batch."""


@torch.no_grad()
def each(
    backbone: Any, wanted: Mapping[str, Collection[int]], side: Side | None = None
) -> dict[tuple[str, int], torch.Tensor]:
    """
    Sentence vectors (width,) on the CPU, not normalised, of each text after each number of blocks wanted of it.

    Texts are run together by a `Backbone`, and each leaves after the deepest of its own.
    """
    order = sorted(wanted)
    lengths = dict(zip(order, backbone.window(side).lengths(order), strict=True))
    order.sort(key=lambda text: -lengths[text])
    found: dict[tuple[str, int], torch.Tensor] = {}
    for rows in batches([lengths[text] for text in order], TOGETHER):
        texts = sorted(order[rows.start : rows.stop], key=lambda text: -max(wanted[text]))
        inputs = backbone.tokens(texts, backbone.prompt(side))
        for depth, vectors in _by_depth(backbone, inputs, [wanted[text] for text in texts]).items():
            for text, vector in zip(texts, vectors.float().cpu(), strict=False):  # rows that left have none
                found[text, depth] = vector
    return found


def _by_depth(backbone: Any, inputs: dict[str, Any], wanted: Sequence[Collection[int]]) -> dict[int, torch.Tensor]:
    """Depth -> vectors of the first rows: of all that run so deep."""
    deepest, every = [max(depths) for depths in wanted], sorted(set().union(*wanted))
    if deepest[-1] == deepest[0] or len(wanted) == inputs["input_ids"].shape[1]:
        found: dict[int, torch.Tensor] = backbone(inputs, every)
        return found
    states = left_after(backbone.transformer, backbone.given(inputs), deepest, every, backbone.stack)
    return {
        depth: backbone.pool(state, {name: value[: len(state)] for name, value in inputs.items()})
        for depth, state in states.items()
    }


def left_after(
    model: Any, inputs: Mapping[str, torch.Tensor], deepest: Sequence[int], wanted: Collection[int], stack: Stack
) -> dict[int, torch.Tensor]:
    """
    Each wanted depth -> token states (rows, tokens, width) after so many blocks, of the rows that run so many or more.

    `deepest` holds for each row how many it runs, the most first. Each state is what the model cut there would give.
    There must be another number of rows than of tokens, or what is given for each row could not be told.
    """
    rows = len(inputs["input_ids"])
    staying = {done: sum(depth > done for depth in deepest) for done in range(deepest[0])}
    states: dict[int, torch.Tensor] = {}

    def entering(done: int) -> Any:
        """What is done before the block that follows `done` blocks."""

        def cut(_block: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            state, keep = given[0], staying[done]
            if done in wanted:
                states[done] = state
            rest = [_kept(one, rows, keep) for one in given[1:]]
            return (state[:keep], *rest), {name: _kept(one, rows, keep) for name, one in named.items()}

        return cut

    short = truncated(model, deepest[0], stack)
    blocks = stack.blocks(short)
    for done, block in enumerate(list(blocks)):
        blocks[done] = _listened(block, entering(done))
    last = short(**inputs, return_dict=True).last_hidden_state
    norm = stack.norm(model)
    return {**{depth: state if norm is None else norm(state) for depth, state in states.items()}, deepest[0]: last}


def _listened(block: Any, listen: Callable[..., Any]) -> Any:
    """The block with `listen` before it, for this pass alone: the model may run in another thread meanwhile."""
    twin = shallow(block)
    twin._forward_pre_hooks = OrderedDict(block._forward_pre_hooks)
    twin._forward_pre_hooks_with_kwargs = OrderedDict(block._forward_pre_hooks_with_kwargs)
    twin.register_forward_pre_hook(listen, with_kwargs=True)
    return twin


def _kept(given: Any, rows: int, keep: int) -> Any:
    """Of a tensor with an entry for each row (a mask, positions, biases) those that stay; anything else as it is."""
    if isinstance(given, tuple):
        return tuple(_kept(one, rows, keep) for one in given)
    if isinstance(given, torch.Tensor) and given.dim() > 1 and len(given) == rows:
        return given[:keep]
    return given
