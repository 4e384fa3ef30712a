"""
Cosine similarities and in-batch softmax at every prefix (MRL, Kusupati et al. 2022, equation 1), by partial sums.

The inner product of two prefixes is the inner product of the shorter ones plus that of one block:
``S[:m2] = S[:m1] + Q[:, m1:m2] @ D[:, m1:m2].T``. So all sizes together cost the products of the largest alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch.autograd.function import once_differentiable

from anysize.core.errors import AnysizeError, SizeError

EPS = 1e-12
# Up to here exp(scale * cosine) neither overflows nor vanishes in float32, so a row's maximum need not be taken off.
_SAFE_SCALE = 40.0


def prefix_similarities(
    queries: Float[torch.Tensor, "n d"],
    documents: Float[torch.Tensor, "m e"],
    dims: Sequence[int],
    *,
    normalize: bool = True,
) -> list[Float[torch.Tensor, "n m"]]:
    """
    Similarities (n, m) of queries (n, d) and documents (m, d) at every prefix length in `dims` (increasing).

    Cosines of the prefixes, or their inner products with ``normalize=False``. Raises `SizeError` if `dims` is not
    increasing or exceeds d.
    """
    blocks = _blocks(queries, documents, dims)
    found = []
    with torch.autocast(queries.device.type, enabled=False):
        queries, documents = _single(queries), _single(documents)
        products = queries.new_zeros(())
        squares_q, squares_d = queries.new_zeros(len(queries), 1), documents.new_zeros(len(documents))
        for start, stop in blocks:
            q, d = queries[:, start:stop], documents[:, start:stop]
            products = products + q @ d.T
            if not normalize:
                found.append(products)
                continue
            squares_q, squares_d = squares_q + q.square().sum(1, keepdim=True), squares_d + d.square().sum(1)
            found.append(products * _inverse_norm(squares_q) * _inverse_norm(squares_d))
    return found


def nested_info_nce(
    queries: Float[torch.Tensor, "n d"],
    documents: Float[torch.Tensor, "m e"],
    dims: Sequence[int],
    *,
    scale: float = 20.0,
    weights: Sequence[float] | None = None,
    targets: Int[torch.Tensor, " n"] | None = None,
) -> list[Float[torch.Tensor, ""]]:
    """
    In-batch softmax loss over cosine similarities at every prefix: one scalar per entry of `dims`, times its weight.

    `queries` is (n, d), `documents` (m, d); row i's document is ``targets[i]`` (default: document i, so m >= n).
    Values and gradients equal slicing, normalising and `cross_entropy` at each size, in float32 where the input is
    of half precision. Differentiable once. Raises `SizeError` as `prefix_similarities` does.
    """
    _blocks(queries, documents, dims)
    if weights is not None and len(weights) != len(dims):
        raise SizeError(f"{len(weights)} weights for {len(dims)} sizes; give one weight per size")
    if targets is None:
        if len(documents) < len(queries):
            raise AnysizeError(
                f"{len(queries)} queries but {len(documents)} documents; give a document per query, or targets"
            )
        targets = torch.arange(len(queries), device=queries.device)
    # The kernel writes into its own buffers, which automatic casting would hand it in another precision.
    with torch.autocast(queries.device.type, enabled=False):
        q, d = _single(queries), _single(documents)
        differentiable = torch.is_grad_enabled() and (q.requires_grad or d.requires_grad)
        losses = _NestedInfoNCE.apply(q, d, targets, tuple(dims), float(scale), differentiable)
    return list(losses if weights is None else losses * losses.new_tensor(weights))


class _NestedInfoNCE(torch.autograd.Function):
    """
    The losses of all prefixes with their gradients written out.

    For one prefix let C be the cosines, P = softmax(scale * C) and G = scale / n * (P - onehot). The running products
    S get the gradient A = G / (|q| |d|), and the norms take away q * rowsum(A * S) / |q|^2 (likewise for d). A block's
    gradient collects the A of every prefix that holds it, so backward needs two products per block, as one size does.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: torch.Tensor,
        documents: torch.Tensor,
        targets: torch.Tensor,
        dims: tuple[int, ...],
        scale: float,
        differentiable: bool,
    ) -> torch.Tensor:
        (n, m), blocks = (len(queries), len(documents)), list(itertools.pairwise((0, *dims)))
        squares_q, squares_d = _running_squares(queries, blocks), _running_squares(documents, blocks)
        inverse_q, inverse_d = _inverse_norm(squares_q), _inverse_norm(squares_d)
        products = queries.new_zeros(n, m)
        # One (n, m) sheet per prefix, kept for backward; a single one is used again and again where there is none.
        sheets = queries.new_empty(len(blocks) if differentiable else 1, n, m)
        scratch = torch.empty_like(products) if differentiable else None
        aims, ones_n, ones_m = targets[:, None], queries.new_ones(n), queries.new_ones(m)
        losses, pulls_q, pulls_d = [], [], []
        for g, (start, stop) in enumerate(blocks):
            products.addmm_(queries[:, start:stop], documents[:, start:stop].T)
            sheet = sheets[g if differentiable else 0]
            torch.mul(products, inverse_d[g], out=sheet)
            sheet *= (scale * inverse_q[g])[:, None]  # scale * C
            aimed = sheet.gather(1, aims).squeeze(1)
            top: torch.Tensor | float = 0.0
            if abs(scale) > _SAFE_SCALE:
                top = sheet.amax(1)
                sheet -= top[:, None]
            mass = torch.mv(sheet.exp_(), ones_m)
            losses.append((mass.log() + top - aimed).mean())
            if scratch is None:
                continue
            slope = scale / n * inverse_q[g]
            sheet *= (slope / mass)[:, None]
            sheet *= inverse_d[g]
            sheet.scatter_add_(1, aims, -(slope * inverse_d[g][targets])[:, None])  # A
            torch.mul(sheet, products, out=scratch)
            pulls_q.append(torch.mv(scratch, ones_m))
            pulls_d.append(torch.mv(scratch.T, ones_n))
        if differentiable:
            # A norm at its floor is a constant: nothing flows through it.
            pull_q = torch.stack(pulls_q) * torch.where(squares_q > EPS**2, inverse_q.square(), 0)
            pull_d = torch.stack(pulls_d) * torch.where(squares_d > EPS**2, inverse_d.square(), 0)
            ctx.save_for_backward(queries, documents, sheets, pull_q, pull_d)
            ctx.blocks = blocks
        return torch.stack(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        queries, documents, sheets, pull_q, pull_d = ctx.saved_tensors
        gradient_q, gradient_d = torch.zeros_like(queries), torch.zeros_like(documents)
        # Row g: the sum over every prefix that holds block g, that is, over g and all larger ones.
        pull_q = (pull_q * outer[:, None]).flip(0).cumsum(0).flip(0)[..., None]
        pull_d = (pull_d * outer[:, None]).flip(0).cumsum(0).flip(0)[..., None]
        push = sheets[-1] * outer[-1]
        for g in reversed(range(len(ctx.blocks))):
            if g < len(ctx.blocks) - 1:
                push.addcmul_(sheets[g], outer[g])
            block = slice(*ctx.blocks[g])
            q, d = queries[:, block], documents[:, block]
            torch.addcmul(push @ d, q, pull_q[g], value=-1, out=gradient_q[:, block])
            torch.addcmul(push.T @ q, d, pull_d[g], value=-1, out=gradient_d[:, block])
        return gradient_q, gradient_d, None, None, None, None


def _running_squares(rows: torch.Tensor, blocks: list[tuple[int, int]]) -> torch.Tensor:
    """Squared norms of every prefix of every row, shape (prefixes, rows)."""
    norms = [torch.linalg.vector_norm(rows[:, start:stop], dim=1) for start, stop in blocks]
    return torch.stack(norms).square_().cumsum(0)


def _single(rows: torch.Tensor) -> torch.Tensor:
    """Float32 in place of half precision, in which running sums lose too much."""
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows


def _inverse_norm(squares: torch.Tensor) -> torch.Tensor:
    """1 / max(norm, EPS), as `normalize` has it; the clamp stands inside the root, whose slope at 0 is infinite."""
    return squares.clamp_min(EPS**2).rsqrt()


def _blocks(queries: torch.Tensor, documents: torch.Tensor, dims: Sequence[int]) -> list[tuple[int, int]]:
    width = queries.shape[1]
    if documents.shape[1] != width:
        raise SizeError(f"queries have {width} dimensions and documents {documents.shape[1]}; they must agree")
    blocks = list(itertools.pairwise((0, *dims)))
    if not blocks or any(stop <= start for start, stop in blocks) or dims[-1] > width:
        raise SizeError(f"dims {list(dims)} must be increasing, from 1 to {width}")
    return blocks
