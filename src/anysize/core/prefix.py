"""Cosine similarities and in-batch softmax at every prefix, from running partial sums over coordinate blocks.

The inner product of two prefixes is the inner product of the shorter ones plus that of one block:
``S[:m2] = S[:m1] + Q[:, m1:m2] @ D[:, m1:m2].T``. So all sizes together cost the products of the largest alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from anysize.core.errors import SizeError

EPS = 1e-12


def prefix_similarities(
    queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int], *, normalize: bool = True
) -> list[torch.Tensor]:
    """
    Similarities (n, m) of queries (n, d) and documents (m, d) at every prefix length in `dims` (increasing).

    Cosines of the prefixes, or their inner products with ``normalize=False``. Raises `SizeError` if `dims` is not
    increasing or exceeds d.
    """
    found, products = [], None
    squares_q, squares_d = queries.new_zeros(len(queries)), documents.new_zeros(len(documents))
    for start, stop in _blocks(queries, documents, dims):
        q, d = queries[:, start:stop], documents[:, start:stop]
        block = q @ d.T
        products = block if products is None else products + block
        if normalize:
            squares_q, squares_d = squares_q + q.square().sum(1), squares_d + d.square().sum(1)
            found.append(products * _inverse_norm(squares_q)[:, None] * _inverse_norm(squares_d)[None, :])
        else:
            found.append(products)
    return found


def nested_info_nce(
    queries: torch.Tensor,
    documents: torch.Tensor,
    dims: Sequence[int],
    *,
    scale: float = 20.0,
    weights: Sequence[float] | None = None,
    targets: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """
    In-batch softmax loss over cosine similarities at every prefix: one scalar per entry of `dims`, times its weight.

    `queries` is (n, d), `documents` (m, d) with m >= n; row i's document is ``targets[i]`` (default: document i).
    Values and gradients equal slicing, normalising and `cross_entropy` at each size. Raises `SizeError` as
    `prefix_similarities` does.
    """
    _blocks(queries, documents, dims)
    aimed = torch.arange(len(queries), device=queries.device) if targets is None else targets
    losses = _NestedInfoNCE.apply(queries, documents, aimed, tuple(dims), float(scale))
    return [loss * weight for loss, weight in zip(losses, weights or [1.0] * len(dims), strict=True)]


class _NestedInfoNCE(torch.autograd.Function):
    """
    The losses of all prefixes with their gradients written out.

    With C the cosines of one prefix, P = softmax(scale * C) and G = scale / n * (P - onehot), the gradient to the
    running products S is A = G * (1/|q|) * (1/|d|), and the norms add -q/|q|^2 * rowsum(G * C). A block's gradient
    collects the A of every prefix that holds it, so backward needs two products per block, like a single size.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: torch.Tensor, documents: torch.Tensor, targets: torch.Tensor, dims: tuple[int, ...], s: float
    ) -> torch.Tensor:
        n = len(queries)
        rows = torch.arange(n, device=queries.device)
        products = queries.new_zeros(n, len(documents))
        squares_q, squares_d = queries.new_zeros(n), documents.new_zeros(len(documents))
        losses, saved = [], []
        for start, stop in itertools.pairwise((0, *dims)):
            q, d = queries[:, start:stop], documents[:, start:stop]
            products.addmm_(q, d.T)
            squares_q += q.square().sum(1)
            squares_d += d.square().sum(1)
            inverse_q, inverse_d = _inverse_norm(squares_q), _inverse_norm(squares_d)
            logits = products * (s * inverse_q)[:, None]
            logits *= inverse_d
            log_p = torch.log_softmax(logits, dim=1)
            losses.append(-log_p[rows, targets].mean())
            p = log_p.exp_()
            aimed = logits[rows, targets]
            logits *= p  # P * scale * C, from here on
            pull_q = (logits.sum(1) - aimed) / n
            pull_d = (logits.sum(0).index_add_(0, targets, aimed, alpha=-1)) / n
            p[rows, targets] -= 1
            p *= (s / n * inverse_q)[:, None]
            p *= inverse_d
            # A norm at its floor is a constant: nothing flows through it.
            pull_q = torch.where(squares_q > EPS**2, pull_q * inverse_q.square(), 0)
            pull_d = torch.where(squares_d > EPS**2, pull_d * inverse_d.square(), 0)
            saved += [p, pull_q, pull_d]
        ctx.save_for_backward(queries, documents, *saved)
        ctx.dims = dims
        return torch.stack(losses)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, documents, *saved = ctx.saved_tensors
        gradient_q, gradient_d = torch.zeros_like(queries), torch.zeros_like(documents)
        push, pull_q, pull_d = 0, 0, 0
        blocks = list(itertools.pairwise((0, *ctx.dims)))
        for index in reversed(range(len(blocks))):
            (start, stop), weight = blocks[index], outer[0][index]
            p, q_part, d_part = saved[3 * index : 3 * index + 3]
            push = torch.addcmul(push, p, weight) if index < len(blocks) - 1 else p * weight
            pull_q, pull_d = pull_q + weight * q_part, pull_d + weight * d_part
            q, d = queries[:, start:stop], documents[:, start:stop]
            gradient_q[:, start:stop] = push @ d - q * pull_q[:, None]
            gradient_d[:, start:stop] = push.T @ q - d * pull_d[:, None]
        return gradient_q, gradient_d, None, None, None


def _inverse_norm(squares: torch.Tensor) -> torch.Tensor:
    """1 / max(norm, EPS), as `torch.nn.functional.normalize`; the clamp stands inside the root, whose slope at 0 is infinite."""
    return squares.clamp_min(EPS**2).rsqrt()


def _blocks(queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int]) -> list[tuple[int, int]]:
    width = queries.shape[1]
    if documents.shape[1] != width:
        raise SizeError(f"queries have {width} dimensions and documents {documents.shape[1]}; they must agree")
    blocks = list(itertools.pairwise((0, *dims)))
    if not blocks or any(stop <= start for start, stop in blocks) or dims[-1] > width:
        raise SizeError(f"dims {list(dims)} must be increasing, from 1 to {width}")
    return blocks
