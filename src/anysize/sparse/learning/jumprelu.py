"""
JumpReLU with thresholds that learn (Rajamanoharan et al. 2024, "Jumping Ahead", arXiv 2407.14435, equations 7 to 12).

``z = a H(a - theta)`` with one threshold per latent, learnt as its logarithm. Loss and L0 step where a crosses theta,
so their gradients in theta are estimated by a rectangle K of width `bandwidth` around it:
``dz/dtheta = -(theta / bandwidth) K((a - theta) / bandwidth)`` and ``dH/dtheta = -(1 / bandwidth) K(...)``.
Only positive pre-activations count; in the authors' code those that ReLU made zero would once theta falls below half a
bandwidth.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from anysize.core.training.processes import place
from anysize.sparse.learning.recipe import Recipe


def jump(
    pre: torch.Tensor, log_threshold: torch.Tensor, latents: torch.Tensor, bandwidth: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Activations (entries,) of pre-activations near or above the thresholds, and how many are above, both with gradients.

    `pre` (entries,) holds every positive pre-activation above ``theta - bandwidth / 2``, `latents` whose they are,
    `log_threshold` is (F,).
    """
    return _Jump.apply(pre, log_threshold, latents, bandwidth)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pre: torch.Tensor, log_threshold: torch.Tensor, latents: torch.Tensor, bandwidth: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        threshold = log_threshold.exp()[latents]
        above = pre > threshold
        ctx.save_for_backward(pre, threshold, above, latents)
        ctx.bandwidth, ctx.width = bandwidth, len(log_threshold)
        return pre * above, above.sum().to(pre.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, at_values: torch.Tensor, at_count: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pre, threshold, above, latents = ctx.saved_tensors
        near = (pre - threshold).abs() < ctx.bandwidth / 2
        # The logarithm brings one more theta: d theta / d log theta = theta.
        pull = -(threshold / ctx.bandwidth) * near * (threshold * at_values + at_count)
        at_threshold = torch.bincount(latents, weights=pull, minlength=ctx.width).to(pull.dtype)
        return at_values * above, at_threshold, None, None


def penalty(count: torch.Tensor, rows: int, recipe: Recipe, share: float) -> torch.Tensor:
    """
    The L0 term of a batch of `rows` with `count` active entries: the weight times L0.

    With a target, the recipe's `active`, it is the weight times ``(L0 / target - 1)^2``. `share` of the weight is
    used, so that it can rise slowly. Among several processes L0 is that of all their rows.
    """
    l0 = count / rows
    if place()[1] > 1:
        mean = l0.detach().clone()
        torch.distributed.all_reduce(mean)
        l0 = l0 + (mean / place()[1] - l0.detach())  # their value, my gradient, which is averaged with theirs
    return share * recipe.l0 * (l0 if recipe.active is None else (l0 / recipe.active - 1).square())
