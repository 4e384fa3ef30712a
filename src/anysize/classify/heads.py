"""
MRL and MRL-E: linear classifiers over every prefix of one feature vector (Kusupati et al. 2022, section 3, equation 1).

MRL has an independent head for each size. MRL-E ("efficient") ties them: one matrix, of which a size reads the first
columns. Its logits at all sizes are running sums over coordinate blocks, so together they cost one full head.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch.nn import functional

from anysize.core.errors import DataError, SizeError
from anysize.core.losses.nested import NestedTerms, nested_loss
from anysize.core.sizes.checks import whole_numbers
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size


class MRLHead(torch.nn.Module):
    """
    Logits at every size from features of shape (n, in_features).

    `efficient=True` is MRL-E: tied weights and one bias shared by all sizes, or with `per_dim_bias` a bias for each.
    Independent heads always have their own. Raises `SizeError` if `dims` is not increasing or exceeds the features.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        dims: Sequence[int],
        *,
        efficient: bool = False,
        per_dim_bias: bool = False,
    ) -> None:
        super().__init__()
        self.nesting = Nesting(dims=whole_numbers("dims", dims))
        self.dims = self.nesting.values("dims")
        if self.dims[-1] > in_features:
            raise SizeError(f"size {self.dims[-1]} exceeds the {in_features} features; give dims up to {in_features}")
        if num_classes < 2:
            raise DataError(f"a classifier tells at least 2 classes apart; got {num_classes}")
        if per_dim_bias and not efficient:
            raise SizeError("independent heads have a bias each; per_dim_bias is for efficient=True")
        self.in_features, self.num_classes = in_features, num_classes
        self.efficient, self.per_dim_bias = efficient, per_dim_bias
        # The same start as torch.nn.Linear. The tied matrix and its first bias are one Linear of the full size.
        widths = self.dims[-1:] if efficient else self.dims
        linears = [torch.nn.Linear(width, num_classes) for width in widths]
        self.weights = torch.nn.ParameterList([linear.weight for linear in linears])
        biases = [linear.bias for linear in linears]
        if per_dim_bias:
            biases = [torch.nn.Parameter(biases[0].detach().clone()) for _ in self.dims]
        self.biases = torch.nn.ParameterList(biases)

    def forward(
        self, features: Float[torch.Tensor, "n d"], dims: Sequence[int] | None = None
    ) -> list[Float[torch.Tensor, "n c"]]:
        """
        Logits (n, classes) at each of `dims` (default: all sizes, increasing), from one pass over the features.

        Features are (n, d) with d at least the largest size asked for: a stored prefix is enough. Raises `SizeError`
        for a size that the head lacks and `DataError` for features of another width.
        """
        asked = self.dims if dims is None else tuple(self.nesting.resolve(dims=size).dims for size in dims)
        widest = max(asked)
        if features.dim() != 2 or not widest <= features.shape[1] <= self.in_features:
            raise DataError(
                f"features have shape {tuple(features.shape)}; expected (n, {self.in_features}), "
                f"or their first {widest} columns or more"
            )
        found = self._tied(features, widest) if self.efficient else {size: self._own(features, size) for size in asked}
        return [found[size] for size in asked]

    def _own(self, features: torch.Tensor, size: int) -> torch.Tensor:
        place = self.dims.index(size)
        return functional.linear(features[:, :size], self.weights[place], self.biases[place])

    def _tied(self, features: torch.Tensor, widest: int) -> dict[int, torch.Tensor]:
        weight, found = self.weights[0], {}
        running = features.new_zeros(()) if self.per_dim_bias else self.biases[0]
        for place, (start, stop) in enumerate(itertools.pairwise((0, *self.dims[: self.dims.index(widest) + 1]))):
            running = running + features[:, start:stop] @ weight[:, start:stop].T
            found[stop] = running + self.biases[place] if self.per_dim_bias else running
        return found

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"in_features={self.in_features}, classes={self.num_classes}, dims={self.dims}, tied={self.efficient}"


def nested_cross_entropy(
    logits: Sequence[torch.Tensor],
    labels: torch.Tensor,
    nesting: Nesting,
    *,
    label_smoothing: float = 0.0,
    reduction: Literal["sum", "mean"] = "sum",
    sizes: Sequence[Size] | None = None,
) -> NestedTerms:
    """
    Equation 1: the weighted sum over sizes of the cross-entropy of that size's logits; every term can be read.

    `logits` holds one (n, classes) tensor for each of `sizes` (default: all of the nesting); `labels` is (n,) int64.
    The paper sums, which multiplies the scale of the loss by the number of sizes; ``reduction="mean"`` does not.
    Raises `DataError` for labels of another type or shape.
    """
    used = tuple(nesting) if sizes is None else tuple(sizes)
    if len(logits) != len(used):
        raise SizeError(f"{len(logits)} logits for {len(used)} sizes; give one tensor per size")
    if labels.dtype != torch.int64 or labels.dim() != 1 or len(labels) != len(logits[0]):
        raise DataError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}; "
            f"expected int64, one for each of {len(logits[0])} rows"
        )
    by_size = dict(zip(used, logits, strict=True))

    def loss_at(size: Size) -> torch.Tensor:
        return functional.cross_entropy(by_size[size].float(), labels, label_smoothing=label_smoothing)

    return nested_loss(nesting, loss_at, sizes=used, reduction=reduction)
