"""
One clustering head for each size (Franca, Venkataramanan, Pariza et al. 2025, arXiv 2507.14137, section 3.1).

A head reads the first m coordinates of a token and has prototypes in proportion to m: coarse clusters for short
prefixes, fine ones for long. The released code does another thing: each head reads *all* coordinates through a linear
map of its own to m, so that no prefix is ever asked for anything. Both are here, `nesting` says which.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from anysize.core.errors import AnysizeError, SizeError
from anysize.core.sizes.checks import whole_numbers

Nested = Literal["prefix", "projection", "full"]


class NestedPrototypeHead(nn.Module):
    """
    Scores against prototypes at every size, of tokens (n, in_dim): a list of (n, n_prototypes[j]).

    `n_prototypes` is that of the largest size, others have ``n_prototypes * dims[j] // dims[-1]``, or one number each.
    `nesting`: ``prefix`` (the paper), ``projection`` (the released code), or ``full``, where every head reads all
    coordinates, to tell nesting from having several granularities. `norm_bottleneck` keeps scores between -1 and 1, as
    DINOv2 does and Franca does not. `hidden_dim` is of all sizes, or a number for each (`in_proportion`). Raises
    `SizeError` for sizes that do not increase or exceed `in_dim`.
    """

    def __init__(
        self,
        in_dim: int,
        n_prototypes: int | Sequence[int],
        dims: Sequence[int],
        *,
        hidden_dim: int | Sequence[int] = 2048,
        bottleneck_dim: int = 384,
        nlayers: int = 3,
        nesting: Nested = "prefix",
        norm_bottleneck: bool = True,
    ) -> None:
        super().__init__()
        self.dims = whole_numbers("dims", dims)
        if self.dims[-1] > in_dim:
            raise SizeError(f"size {self.dims[-1]} exceeds tokens of {in_dim}; give dims up to {in_dim}")
        if nesting not in ("prefix", "projection", "full"):
            raise AnysizeError(f"nesting is prefix, projection or full; got {nesting!r}")
        if isinstance(n_prototypes, int):
            n_prototypes = [n_prototypes * size // self.dims[-1] for size in self.dims]
        self.n_prototypes = tuple(n_prototypes)
        if len(self.n_prototypes) != len(self.dims) or min(self.n_prototypes) < 2:
            raise SizeError(f"{list(n_prototypes)} prototypes for sizes {list(self.dims)}; give at least 2 to each")
        self.in_dim, self.nesting, self.norm_bottleneck = in_dim, nesting, norm_bottleneck
        self.bottleneck_dim = bottleneck_dim
        self.projections = nn.ModuleList(
            nn.Linear(in_dim, size) if nesting == "projection" else nn.Identity() for size in self.dims
        )
        widths = [in_dim if nesting == "full" else size for size in self.dims]
        hidden = [hidden_dim] * len(widths) if isinstance(hidden_dim, int) else list(hidden_dim)
        if len(hidden) != len(widths):
            raise SizeError(f"{hidden} hidden widths for sizes {list(self.dims)}; give one number, or one to each")
        self.mlps = nn.ModuleList(
            _mlp(width, inner, bottleneck_dim, nlayers) for width, inner in zip(widths, hidden, strict=True)
        )
        self.apply(_initialised)
        self.last_layers = nn.ModuleList(
            weight_norm(nn.Linear(bottleneck_dim, count, bias=False)) for count in self.n_prototypes
        )
        for layer in self.last_layers:
            parts: Any = layer.parametrizations["weight"]  # type: ignore[index]  # torch types it as any module
            nn.init.trunc_normal_(parts.original1, std=0.02)
            nn.init.ones_(parts.original0)

    def features(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """What the prototypes of each size read, (n, bottleneck_dim)."""
        if tokens.shape[-1] != self.in_dim:
            raise SizeError(f"tokens of width {tokens.shape[-1]}; expected {self.in_dim}")
        found = []
        for size, projection, mlp in zip(self.dims, self.projections, self.mlps, strict=True):
            read = tokens[..., :size] if self.nesting == "prefix" else projection(tokens)
            # Franca has one more GELU here and no normalisation; with unit length it would only halve the sphere.
            found.append(
                functional.normalize(mlp(read), dim=-1) if self.norm_bottleneck else functional.gelu(mlp(read))
            )
        return found

    def scores(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Of what `features` gave, against the prototypes of each size."""
        return [layer(one) for layer, one in zip(self.last_layers, features, strict=True)]

    def forward(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Scores (n, n_prototypes[j]) at every size."""
        return self.scores(self.features(tokens))


def in_proportion(hidden_dim: int, dims: Sequence[int], least: int) -> tuple[int, ...]:
    """Hidden widths of heads that are as much narrower as their sizes are, and not below `least`."""
    return tuple(min(hidden_dim, max(least, hidden_dim * size // dims[-1])) for size in dims)


def _mlp(width: int, hidden: int, out: int, layers: int) -> nn.Sequential:
    if layers < 1:
        raise AnysizeError(f"a head has at least 1 layer; got {layers}")
    widths = [width, *[hidden] * (layers - 1), out]
    parts: list[nn.Module] = []
    for one, other in itertools.pairwise(widths):
        parts += [nn.Linear(one, other), nn.GELU()]
    return nn.Sequential(*parts[:-1])


def _initialised(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
