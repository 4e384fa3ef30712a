"""The training step as the papers write it, dense and by plain autograd: what the kernels are tested against."""

from __future__ import annotations

import torch


def pre_activations(x, W_enc, b_enc, b_dec):
    return (x - b_dec) @ W_enc + b_enc


def inputs_of(sae, x):
    """What an autoencoder's activations are made from, of vectors as they are given."""
    rows = (torch.as_tensor(x) - sae.mean) * sae.scale
    return pre_activations(rows, sae.W_enc, sae.b_enc, sae.b_dec).detach()


def topk(pre, k):
    """The k largest of each row, then ReLU."""
    kept = torch.zeros_like(pre).scatter(1, pre.topk(min(k, pre.shape[1])).indices, 1.0)
    return (pre * kept).clamp_min(0)


def batchtopk(pre, k):
    """The k n largest of the batch, then ReLU."""
    kept = torch.zeros_like(pre).view(-1)
    kept[pre.reshape(-1).topk(k * len(pre)).indices] = 1.0
    return (pre * kept.view_as(pre)).clamp_min(0)


class _Step(torch.autograd.Function):
    """H(a - theta), and in theta the rectangle estimate; dense, as the paper's appendix lists it."""

    @staticmethod
    def forward(ctx, a, theta, bandwidth):
        ctx.save_for_backward(a, theta)
        ctx.bandwidth = bandwidth
        return (a > theta).to(a.dtype)

    @staticmethod
    def backward(ctx, outer):
        a, theta = ctx.saved_tensors
        window = ((a - theta) / ctx.bandwidth).abs() < 0.5
        return torch.zeros_like(a), (-(1 / ctx.bandwidth) * window * (a > 0) * outer).sum(0), None


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, theta, bandwidth):
        ctx.save_for_backward(a, theta)
        ctx.bandwidth = bandwidth
        return a * (a > theta)

    @staticmethod
    def backward(ctx, outer):
        a, theta = ctx.saved_tensors
        window = ((a - theta) / ctx.bandwidth).abs() < 0.5
        at_theta = -(theta / ctx.bandwidth) * window * (a > 0) * outer
        return (a > theta) * outer, at_theta.sum(0), None


def jumprelu(pre, log_theta, bandwidth):
    """Activations, and L0 of each row."""
    return _JumpReLU.apply(pre, log_theta.exp(), bandwidth), _Step.apply(pre, log_theta.exp(), bandwidth).sum(1)


def prefix_errors(z, x, W_dec, b_dec, latents, *, detach=False):
    """For every prefix of the dictionary the error of its reconstruction, each prefix from scratch."""
    found, before = [], 0
    for stop in latents:
        inner = z[:, :before] @ W_dec[:before] + b_dec
        inner = inner.detach() + b_dec - b_dec.detach() if detach else inner
        found.append(inner + z[:, before:stop] @ W_dec[before:stop] - x)
        before = stop
    return found


def rank_errors(pre, x, W_dec, b_dec, active):
    """For every number of active latents the error of its reconstruction, each selected and decoded from scratch."""
    return [topk(pre, k) @ W_dec + b_dec - x for k in active]


def losses(errors, row_weights=None):
    squares = [error.square() if row_weights is None else error.square() * row_weights[:, None] for error in errors]
    return torch.stack([square.mean() for square in squares])
