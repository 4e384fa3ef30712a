"""The straight-through estimator (Bengio et al. 2013): the value of one tensor, the gradient of another."""

from __future__ import annotations

from typing import Any

import torch


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, through: torch.Tensor) -> torch.Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, gradients[0]


def straight_through(value: torch.Tensor, through: torch.Tensor) -> torch.Tensor:
    """
    Exactly `value`, with the gradient going to `through` as if it were that.

    The usual ``through + (value - through).detach()`` gives `value` only up to rounding, so that a model would be
    trained as slightly another than the one that is saved.
    """
    found: torch.Tensor = _StraightThrough.apply(value.detach(), through)
    return found
