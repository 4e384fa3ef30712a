"""
Which width each quantised layer runs at, for the length of a ``with``.

A view of a model shares its layers with every other view, so the width cannot be kept in them: two threads of a server
may run one model at two widths. It is kept in a context variable, which is each thread's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from anysize.core.arguments import MAPPING, takes, whole

FLOAT = 0
"""The width of weights that are not quantised at all; only layers in training still have those."""

_CURRENT: ContextVar[int | Mapping[str, int] | None] = ContextVar("anysize_bits", default=None)


@takes(bits=whole() | MAPPING)
@contextlib.contextmanager
def running_at(bits: int | Mapping[str, int]) -> Iterator[None]:
    """Run every quantised layer at `bits`, or each at that of its name (a layer that is not named: at its widest)."""
    with _at(bits):
        yield


@contextlib.contextmanager
def running_as_floats() -> Iterator[None]:
    """Run layers in training with weights that are not quantised at all."""
    with _at(FLOAT):
        yield


@contextlib.contextmanager
def _at(bits: int | Mapping[str, int]) -> Iterator[None]:
    token = _CURRENT.set(bits)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def width_of(name: str, widest: int) -> int:
    """The width at which the layer `name` runs now."""
    current = _CURRENT.get()
    if current is None:
        return widest
    return current if isinstance(current, int) else current.get(name, widest)


_STEP: ContextVar[object | None] = ContextVar("anysize_step", default=None)


@contextlib.contextmanager
def one_step() -> Iterator[None]:
    """
    Weights stand still in here, so layers may code them once for all widths.

    It must be said: torch's fused optimisers change weights without counting it in their version.
    """
    token = _STEP.set(object())
    try:
        yield
    finally:
        _STEP.reset(token)


def step() -> object | None:
    """What identifies the current step, if there is one."""
    return _STEP.get()
