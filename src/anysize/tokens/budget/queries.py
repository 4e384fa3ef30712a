"""
The Matryoshka query transformer (MQT, Hu et al. 2024, arXiv 2405.19315, section 3.2).

M ordered queries look at the patches of a picture, each by itself, so that the answers of the first m do not depend on
how many more there are: a budget of m keeps a prefix. One attention without a feed-forward part or residual, then a
matrix, as in the released code (gordonhu608/MQT-LLaVA, multimodal_projector/builder.py).

The paper lets queries look at what a patch shows. The released code does not: its keys are positions alone, so that
every picture is looked at in the same way. Both are here, named by `KeySource`; the released weights need ``position``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from anysize.core.errors import AnysizeError, SizeError
from anysize.tokens.budget.operator import Shape

KeySource = Literal["content+position", "position"]


class MatryoshkaQueryTransformer(nn.Module):
    """
    Makes `queries` ordered tokens of `out_dim` from the patches (n, rows * columns, kv_dim) of a picture.

    `shape` is how the patches lie. The queries' positions are those of a square grid that has room for all.
    Raises `AnysizeError` unless `kv_dim` can be divided by 4 (positions) and among the heads.
    """

    positions: torch.Tensor

    def __init__(
        self,
        queries: int,
        kv_dim: int,
        out_dim: int,
        shape: Shape,
        *,
        heads: int = 16,
        key_source: KeySource = "content+position",
    ) -> None:
        super().__init__()
        if kv_dim % 4 or kv_dim % heads:
            raise AnysizeError(f"a width of {kv_dim} can be divided neither by 4 nor among {heads} heads; change heads")
        if key_source not in ("content+position", "position"):
            raise AnysizeError(f"keys are content+position or position, not {key_source!r}")
        if queries < 1:
            raise SizeError(f"a picture needs at least one query; got {queries}")
        self.shape, self.key_source = shape, key_source
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(queries, kv_dim), std=0.02))
        side = math.isqrt(queries - 1) + 1
        self.register_buffer("positions", sincos(kv_dim, side), persistent=False)
        self.attn = nn.MultiheadAttention(kv_dim, heads, batch_first=True)
        self.ln_q, self.ln_k, self.ln_v = (nn.LayerNorm(kv_dim, eps=1e-6) for _ in range(3))
        self.proj = nn.Parameter(torch.randn(kv_dim, out_dim) * out_dim**-0.5)

    def forward(self, patches: torch.Tensor, count: int | None = None) -> torch.Tensor:
        """
        (n, rows * columns, kv_dim) -> (n, count, out_dim), the first `count` tokens; all without a count.

        Raises `SizeError` for a count that is not there, or for other patches than `shape` says.
        """
        found, _ = self._looked(patches, count, weights=False)
        return found @ self.proj

    def looks(self, patches: torch.Tensor, count: int | None = None) -> torch.Tensor:
        """Where the first `count` tokens look, on average: (n, rows * columns), each row with the sum 1."""
        _, weights = self._looked(patches, count, weights=True)
        assert weights is not None
        return weights.mean(1)

    def _looked(
        self, patches: torch.Tensor, count: int | None, *, weights: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        most = self.query.shape[0]
        count = most if count is None else count
        if not 1 <= count <= most:
            raise SizeError(f"{count} tokens cannot be kept of {most}; expected any whole number from 1 to {most}")
        if patches.shape[1] != math.prod(self.shape):
            raise SizeError(f"{patches.shape[1]} patches are no grid of {' x '.join(map(str, self.shape))}")
        where = resized(self.positions, self.shape)  # patches, kv_dim
        values = self.ln_v(patches)
        keys = self.ln_k(where).expand_as(values) if self.key_source == "position" else self.ln_k(patches) + where
        asked = self.ln_q(self.query[:count] + self.positions[:count]).expand(len(patches), -1, -1)
        found: tuple[torch.Tensor, torch.Tensor | None] = self.attn(asked, keys, values, need_weights=weights)
        return found


def sincos(width: int, side: int) -> torch.Tensor:
    """
    Sines and cosines of the places of a square grid (side * side, width), a half for the column, then one for the row.

    Kept in half precision and given back in full, as the released table is, so that its values are the same.
    """
    rates = 1.0 / 10000 ** (torch.arange(width // 4, dtype=torch.float32) / (width / 4))
    waves = torch.arange(side, dtype=torch.float32)[:, None] * rates
    line = torch.cat([waves.sin(), waves.cos()], dim=1)  # side, width / 2
    columns, rows = line.repeat(side, 1), line.repeat_interleave(side, 0)
    return torch.cat([columns, rows], dim=1).half().float()


def resized(positions: torch.Tensor, shape: Shape) -> torch.Tensor:
    """A square table of positions (side * side, width) at another grid, bicubic, (rows * columns, width)."""
    side = math.isqrt(len(positions))
    if shape == (side, side):
        return positions
    table = positions.float().unflatten(0, (side, side)).permute(2, 0, 1)[None]
    grown = functional.interpolate(table, size=shape, mode="bicubic", align_corners=False)
    return grown[0].permute(1, 2, 0).flatten(0, 1).half().to(positions.dtype)
