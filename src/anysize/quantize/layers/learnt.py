"""
Learnable clipping and transformation (OmniQuant, Shao et al. 2023, arXiv 2308.13137; MatQuant, equations 3-5).

The weights stand still. Trained are the shares gamma, beta of the largest and smallest weight at which the grid ends,
a scale s per input feature, and a shift delta: X W + b becomes ((X - delta) / s) Q(W s) + b + delta W. Only weights are
quantised, so s and delta fold into the weight and the bias, and the layer runs as any other.
"""

from __future__ import annotations

import torch
from torch import nn

from anysize.quantize.codes.scales import Clip, Grid, decode, encode, fit_grid, positions
from anysize.quantize.codes.scheme import Scheme
from anysize.quantize.codes.slicing import slice_bits
from anysize.quantize.codes.straight import straight_through

START = 4.0
"""Clipping begins at sigmoid(4) = 0.982 of the range, as in OmniQuant's code."""


class Learnt(nn.Module):
    """What is learnt of one linear layer of shape (rows, features); `transform` adds s and delta to the clipping."""

    def __init__(self, rows: int, features: int, scheme: Scheme, name: str, *, transform: bool) -> None:
        super().__init__()
        groups = scheme.groups(features, name)
        self.scheme, self.name = scheme, name
        self.high = nn.Parameter(torch.full((rows, groups), START))
        self.low = nn.Parameter(torch.full((rows, groups), START))
        self.log_scale = nn.Parameter(torch.zeros(features)) if transform else None
        self.shift = nn.Parameter(torch.zeros(features)) if transform else None

    def clip(self) -> Clip:
        """Gamma and beta, (rows, groups) each."""
        return Clip(torch.sigmoid(self.high), torch.sigmoid(self.low))

    def scaled(self, weight: torch.Tensor) -> torch.Tensor:
        """W s."""
        return weight if self.log_scale is None else weight * self.log_scale.exp()

    def code(self, weight: torch.Tensor) -> tuple[Grid, torch.Tensor]:
        """The learnt grid of W s and its codes."""
        with torch.no_grad():
            scaled = self.scaled(weight)
            grid = fit_grid(scaled, self.scheme, self.name, self.clip())
            return grid, encode(scaled, grid, self.scheme)

    def parts(
        self, weight: torch.Tensor, bias: torch.Tensor | None, bits: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Weight and bias at a width, with gradients to what is learnt.

        They pass rounding and slicing straight, and stop at the clamp: a weight beyond the grid moves with its end.
        """
        scaled = self.scaled(weight)
        grid = fit_grid(scaled, self.scheme, self.name, self.clip())
        places = positions(scaled, grid, self.scheme).clamp(0, 2**self.scheme.parent_bits - 1)
        codes = torch.floor(places.detach() + 0.5).to(torch.int32)
        sliced = slice_bits(codes, bits, self.scheme.parent_bits, self.scheme.mode).to(places.dtype)
        shown = decode(straight_through(sliced, places).reshape(weight.shape), grid, self.scheme)
        if self.log_scale is None or self.shift is None:
            return shown, bias
        shown = shown / self.log_scale.exp()
        return shown, folded_bias(None if bias is None else bias, weight, self.shift) - shown @ self.shift


def folded_bias(bias: torch.Tensor | None, weight: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """B + delta W: the part of the shift that does not depend on the width."""
    moved = weight @ shift
    return moved if bias is None else bias + moved
