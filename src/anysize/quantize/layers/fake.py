"""
Layers in training: their weights are floats, but they run as the codes would (MatQuant, section 3; equation 7).

At every width the layer computes with the weights that the stored code will give there, to the bit; the gradient
passes the rounding, the clamp and the slice as if they were not there (straight-through).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from anysize.quantize.codes.running import FLOAT, step, width_of
from anysize.quantize.codes.scales import Grid, decode, encode, fit_grid
from anysize.quantize.codes.scheme import Scheme
from anysize.quantize.codes.slicing import slice_bits
from anysize.quantize.codes.straight import straight_through
from anysize.quantize.layers.learnt import Learnt


class FakeQuantLinear(nn.Module):
    """
    A linear layer that trains as codes. The grid follows the weights at every step, without a gradient of its own.

    `learnt` (OmniQuant) takes its place where the weights stand still and clipping is what is trained. The width is
    that of `running_at`, else `widest`.
    """

    def __init__(self, linear: nn.Linear, scheme: Scheme, widest: int, name: str) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scheme, self.widest, self.name = scheme, widest, name
        self.learnt: Learnt | None = None
        self._coded: tuple[Any, Grid, torch.Tensor] | None = None
        self.code()

    def code(self) -> tuple[Grid, torch.Tensor]:
        """The grid of the weights as they are, and their codes (out, in); all widths of `one_step` share them."""
        now = step()
        if now is not None and self._coded is not None and self._coded[0] is now:
            return self._coded[1], self._coded[2]
        with torch.no_grad():
            grid = fit_grid(self.weight, self.scheme, self.name)
            codes = encode(self.weight, grid, self.scheme)
        self._coded = None if now is None else (now, grid, codes)
        return grid, codes

    def parts(self, bits: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight (out, in) and bias (out) at a width."""
        if bits == FLOAT:
            return self.weight, self.bias
        if self.learnt is not None:
            return self.learnt.parts(self.weight, self.bias, bits)
        grid, codes = self.code()
        sliced = slice_bits(codes, bits, self.scheme.parent_bits, self.scheme.mode)
        return straight_through(decode(sliced, grid, self.scheme).to(self.weight.dtype), self.weight), self.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        return functional.linear(inputs, *self.parts(width_of(self.name, self.widest)))

    def __deepcopy__(self, memo: dict[int, Any]) -> FakeQuantLinear:
        twin = _bare_copy(self, memo, skip="_coded")
        twin._coded = None
        return twin

    def extra_repr(self) -> str:
        """Shape and scheme, for printing."""
        return f"{self.in_features}, {self.out_features}, widest={self.widest}, {self.scheme}"


class FakeQuantEmbedding(nn.Module):
    """A table that trains as codes; every row has its own scales, so only the rows that a batch reads are coded."""

    def __init__(self, table: nn.Embedding, scheme: Scheme, widest: int, name: str) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim
        self.weight, self.padding_idx = table.weight, table.padding_idx
        self.scheme, self.widest, self.name = scheme, widest, name
        fit_grid(self.weight.detach(), scheme, name)  # refuses what cannot be coded before the training

    def code(self) -> tuple[Grid, torch.Tensor]:
        """The grid of all rows and their codes (rows, features)."""
        with torch.no_grad():
            grid = fit_grid(self.weight, self.scheme, self.name)
            return grid, encode(self.weight, grid, self.scheme)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(...) -> (..., features)."""
        rows = functional.embedding(ids, self.weight, self.padding_idx)
        bits = width_of(self.name, self.widest)
        if bits == FLOAT or not rows.numel():
            return rows
        with torch.no_grad():
            flat = rows.detach().reshape(-1, self.embedding_dim)
            grid = fit_grid(flat, self.scheme, self.name)
            sliced = slice_bits(encode(flat, grid, self.scheme), bits, self.scheme.parent_bits, self.scheme.mode)
            values = decode(sliced, grid, self.scheme).to(rows.dtype).reshape(rows.shape)
        return straight_through(values, rows)

    def extra_repr(self) -> str:
        """Shape and scheme, for printing."""
        return f"{self.num_embeddings}, {self.embedding_dim}, widest={self.widest}, {self.scheme}"


def _bare_copy(module: Any, memo: dict[int, Any], skip: str) -> Any:
    import copy

    twin = module.__class__.__new__(module.__class__)
    memo[id(module)] = twin
    twin.__dict__ = {name: copy.deepcopy(value, memo) for name, value in module.__dict__.items() if name != skip}
    return twin
