"""
Balanced targets: Sinkhorn-Knopp over prototypes and samples (Cuturi 2013; SwAV, Caron et al. 2020, section 3.1).

The usual code writes ``exp(scores / temperature)`` and divides all of it, rows and columns in turn. In float32 that is
infinite for scores above 3.5 at 0.04. Here every sample's largest score is taken off first, and put back as the weight
with which its column begins, so the result is that of the usual code and not of another problem; and what is divided
are two vectors of factors, so that a round costs two products with a matrix that is written once. Where a prototype
lies so far below all samples that its row would vanish, the same is done with logarithms.
"""

from __future__ import annotations

import torch
from torch import distributed

from anysize.core.errors import AnysizeError
from anysize.core.training.processes import place

_LEAST = 1e-30  # below it a sum of float32 has lost too many of its terms


@torch.no_grad()
def sinkhorn_knopp(
    scores: torch.Tensor, temperature: float, n_iters: int = 3, *, log_domain: bool | None = None
) -> torch.Tensor:
    """
    Targets (samples, prototypes) float32 of scores of that shape: every row sums to 1, columns nearly to one share.

    Among several processes each holds samples of its own, and prototypes are balanced over all. `log_domain`: True is
    slower and safe for any scores, None takes it where it is needed. Raises `AnysizeError` for scores that are no
    finite matrix, or a temperature or number of rounds that is not above zero.
    """
    if scores.dim() != 2 or not scores.numel():
        raise AnysizeError(f"scores have shape {tuple(scores.shape)}; expected (samples, prototypes)")
    if not temperature > 0 or n_iters < 1:
        raise AnysizeError(f"temperature and n_iters are above zero; got {temperature} and {n_iters}")
    with torch.autocast(scores.device.type, enabled=False):  # products of half precision would not be balanced
        return _balanced(scores.float(), temperature, n_iters, log_domain)


def _balanced(scores: torch.Tensor, temperature: float, n_iters: int, log_domain: bool | None) -> torch.Tensor:
    top = scores.amax(1) / temperature  # (samples,); of NaN it is NaN
    if not bool(torch.isfinite(top).all()):
        raise AnysizeError("the scores hold NaN or infinite values; lower the learning rate")
    if not log_domain:
        # One pass and one matrix: scores / temperature - top, and its exponential in place.
        kernel = torch.add(-top[:, None], scores, alpha=1 / temperature).exp_()
        found = _scaled(kernel, top, n_iters, give_up=log_domain is None)
        if found is not None:
            return found
    return _logarithmic(scores / temperature, n_iters)


def _scaled(kernel: torch.Tensor, top: torch.Tensor, n_iters: int, *, give_up: bool) -> torch.Tensor | None:
    """With factors of columns and rows; None if a row vanishes and it may give up."""
    columns = torch.exp(top - _over_all(top.max(), distributed.ReduceOp.MAX if place()[1] > 1 else None))
    rows = columns
    for _ in range(n_iters):
        sums = _summed(columns @ kernel)  # (prototypes,)
        if give_up and bool(sums.min() < _LEAST):
            return None
        rows = sums.reciprocal()
        columns = (kernel @ rows).reciprocal()
    return kernel.mul_(rows).mul_(columns[:, None])


def _logarithmic(logits: torch.Tensor, n_iters: int) -> torch.Tensor:
    columns = logits.new_zeros(len(logits))
    for _ in range(n_iters):
        rows = -_log_summed(logits + columns[:, None])  # (prototypes,)
        columns = -torch.logsumexp(logits + rows, 1)
    return torch.exp(logits + rows + columns[:, None])


def _log_summed(values: torch.Tensor) -> torch.Tensor:
    """Log sum exp over the samples of all processes."""
    if place()[1] == 1:
        return torch.logsumexp(values, 0)
    top = _over_all(values.amax(0), distributed.ReduceOp.MAX)
    return _summed(torch.exp(values - top).sum(0)).log() + top


def _summed(mine: torch.Tensor) -> torch.Tensor:
    return _over_all(mine, distributed.ReduceOp.SUM if place()[1] > 1 else None)


def _over_all(mine: torch.Tensor, operation: "distributed.ReduceOp.RedOpType | None") -> torch.Tensor:
    if operation is not None:
        mine = mine.contiguous()
        distributed.all_reduce(mine, operation)
    return mine


class SinkhornQueue(torch.nn.Module):
    """
    The last features of earlier batches, beside which a small batch is balanced: their targets are not used.

    It holds what prototypes read, since prototypes change; under torchrun each process keeps those of its own samples.
    """

    rows: torch.Tensor
    count: torch.Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 0:
            raise AnysizeError(f"a queue holds at least 0 samples; got {size}")
        self.register_buffer("rows", torch.zeros(size, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @property
    def held(self) -> torch.Tensor:
        """(up to size, width), newest first."""
        return self.rows[: int(self.count)]

    @torch.no_grad()
    def push(self, features: torch.Tensor) -> None:
        """Put features (n, width) before all others; the oldest go."""
        if size := len(self.rows):
            self.rows = torch.cat([features.detach().to(self.rows), self.rows])[:size]
            self.count.fill_(min(size, int(self.count) + len(features)))
