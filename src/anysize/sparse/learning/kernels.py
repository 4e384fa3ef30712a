"""
The sparse parts of a training step with their gradients written out: only the encoder's forward is a dense product.

With z the selected values, blocks b_i between the levels and ``r_i = r_{i-1} + z_{b_i} W_{b_i}``, ``r_0 = b_dec``
(matryoshka SAE, arXiv 2503.17547, section 3): the loss of level i is the mean square of ``e_i = r_i - x``. Backward,
``G_i = sum_{j >= i} c_j e_j``, then ``dW_{b_i} = z_{b_i}^T G_i`` and ``dz_{b_i} = G_i W_{b_i}^T``, at the entries
alone. Levels by activation rank (MSAE, arXiv 2502.20578) are the same with bands of ranks for blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from anysize.sparse.autoencoder.entries import Entries, starts


@dataclass(frozen=True)
class StepSizes:
    """To which of several levels each entry is added: level 0 holds the least, each level also all before it."""

    bags: torch.Tensor
    """(entries,) ``row * count + level``, non-decreasing."""
    count: int

    @classmethod
    def of(cls, entries: Entries, places: torch.Tensor, stops: tuple[int, ...]) -> StepSizes:
        """By the place of each entry (its latent, or its rank): level i holds places below ``stops[i]``."""
        edges = torch.tensor(stops, device=places.device)
        return cls(entries.rows * len(stops) + torch.searchsorted(edges, places, right=True), len(stops))


def encoded(
    values: torch.Tensor,
    entries: Entries,
    x: torch.Tensor,
    W_enc: torch.Tensor,
    b_enc: torch.Tensor,
    b_dec: torch.Tensor,
) -> torch.Tensor:
    """The selected values (entries,) of rows ``x - b_dec`` (n, d), tied to the weights that they came from."""
    return _Encoded.apply(W_enc, b_enc, b_dec, values, x, entries)


class _Encoded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        W_enc: torch.Tensor,
        b_enc: torch.Tensor,
        b_dec: torch.Tensor,
        values: torch.Tensor,
        x: torch.Tensor,
        entries: Entries,
    ) -> torch.Tensor:
        ctx.save_for_backward(W_enc, x)
        ctx.entries = entries
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        W_enc, x = ctx.saved_tensors
        entries: Entries = ctx.entries
        order = entries.by_latent
        by_latent = outer[order]
        # Row f: the sum of the inputs that latent f saw, times its gradient there.
        rows = embedding_bag(
            entries.rows[order], x, entries.latent_starts, mode="sum", per_sample_weights=by_latent
        )  # (F, d)
        total = torch.bincount(entries.latents, weights=outer, minlength=entries.width).to(outer.dtype)  # (F,)
        # Autograd would form a full (n, F) x (F, d) product here, only to sum it over n.
        return rows.T, total, -(W_enc @ total), None, None, None


@dataclass(frozen=True)
class Errors:
    """How far each level is from its rows."""

    losses: torch.Tensor
    """(levels,) mean over all values of the squared error."""
    last: torch.Tensor
    """(n, d) error of the last level, ``reconstruction - x``; it carries no gradient."""


def level_errors(
    values: torch.Tensor,
    entries: Entries,
    levels: StepSizes,
    x: torch.Tensor,
    W_dec: torch.Tensor,
    b_dec: torch.Tensor,
    row_weights: torch.Tensor | None = None,
    *,
    detach: bool = False,
) -> Errors:
    """
    The mean squared error against `x` (n, d) at every level, from one sparse decode.

    `row_weights` (n,) multiply each row's squares. With `detach`, a level teaches only what it adds to the level
    before. Differentiable once, in `values`, `W_dec` and `b_dec`.
    """
    return Errors(*_LevelErrors.apply(values, W_dec, b_dec, x, row_weights, entries, levels, detach))


class _LevelErrors(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        W_dec: torch.Tensor,
        b_dec: torch.Tensor,
        x: torch.Tensor,
        row_weights: torch.Tensor | None,
        entries: Entries,
        levels: StepSizes,
        detach: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n, d = x.shape
        begins = starts(torch.bincount(levels.bags, minlength=n * levels.count))
        # Tracked, because the gradient of a bag's weights is a kernel that torch has, but only there.
        with torch.enable_grad():
            held = values.detach().requires_grad_()
            blocks = embedding_bag(entries.latents, W_dec.detach(), begins, mode="sum", per_sample_weights=held)
        errors = blocks.detach().view(n, levels.count, d)
        errors[:, 0] += b_dec
        errors[:, 0] -= x
        for level in range(1, levels.count):
            errors[:, level] += errors[:, level - 1]
        squares = torch.linalg.vector_norm(errors, dim=2).square_()  # (n, levels)
        if row_weights is not None:
            squares *= row_weights[:, None]
        ctx.save_for_backward(values, errors, row_weights)
        ctx.held, ctx.blocks, ctx.entries, ctx.levels, ctx.detach = held, blocks, entries, levels, detach
        last = errors[:, -1].clone()
        ctx.mark_non_differentiable(last)
        return squares.sum(0) / (n * d), last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        values, errors, row_weights = ctx.saved_tensors
        entries, levels = ctx.entries, ctx.levels
        n, _, d = errors.shape
        pull = errors * (2 / (n * d) * outer)[:, None]  # (n, levels, d)
        if row_weights is not None:
            pull *= row_weights[:, None, None]
        bias = pull.sum((0, 1))
        if not ctx.detach:
            for level in reversed(range(levels.count - 1)):
                pull[:, level] += pull[:, level + 1]
        flat = pull.view(n * levels.count, d)
        order = entries.by_latent
        rows = embedding_bag(
            levels.bags[order], flat, entries.latent_starts, mode="sum", per_sample_weights=values[order]
        )  # (F, d)
        (at_values,) = torch.autograd.grad(ctx.blocks, ctx.held, flat)
        return at_values, rows, bias, None, None, None, None, None
