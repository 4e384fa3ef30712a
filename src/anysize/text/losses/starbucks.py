"""
Starbucks (Zhuang et al. 2024, arXiv 2410.13230): a short fixed menu of (layers, dims), every size at every step.

The paper gives one idea of the pull to the largest size and its two programs two: softmax over pooled features, and
softmax over each query's candidates. Both are here by name; the second, free of scale, is the default.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import torch

from anysize.core.errors import SizeError
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.text.losses.layered import KL, Cell, LayeredLoss, Step
from anysize.text.losses.taps import unwrapped


class StarbucksLoss(LayeredLoss):
    """
    ``L = l(largest) + sum over smaller sizes of l(size) + kl_weight * KL(largest || size)``.

    `sizes` is the menu: (layers, dims) pairs, smallest first, of which the last holds all others; or a `Nesting` of
    both axes, whose weights then count. `n_sizes_per_step` draws so many of the smaller sizes anew at each step, from
    Python's `random` (-1: all); the largest is always there. ``kl_on="similarity"`` divides cosines by
    `kl_temperature` (0.05 unless given); ``"pooled"`` compares softmaxes over the features at each size's prefix
    (temperature 1 unless given; the reference program is ``kl_weight=0.3, detach_teacher=False`` of this). The pull's
    teacher is the last layer of the menu at its own size's prefix for ``pooled``, at its full width for
    ``similarity``.

    Raises `SizeError` if the menu is not one, or exceeds the model.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: torch.nn.Module,
        sizes: str | Iterable[str | tuple[int, int]] | Nesting,
        *,
        n_sizes_per_step: int = -1,
        kl_weight: float = 1.0,
        kl_on: KL = "similarity",
        kl_temperature: float | None = None,
        **options: Any,
    ) -> None:
        if kl_temperature is None:
            kl_temperature = 0.05 if kl_on == "similarity" else 1.0
        super().__init__(model, loss, kl_on=kl_on, kl_temperature=kl_temperature, **options)
        self.sizes = sizes if isinstance(sizes, Nesting) else Nesting.parse(sizes)
        if set(self.sizes.axes) != {"layers", "dims"}:
            raise SizeError(f"a menu lists layers and dims; got {', '.join(self.sizes.axes)}")
        width = unwrapped(model).get_embedding_dimension()
        self.sizes.within(Size(layers=self.depth, dims=width))
        if n_sizes_per_step == 0 or n_sizes_per_step < -1:
            raise SizeError(f"n_sizes_per_step is {n_sizes_per_step}; give a number of sizes, or -1 for all")
        self.n_sizes_per_step, self.kl_weight = n_sizes_per_step, kl_weight
        self.teacher = (self.sizes.full.layers, self.sizes.full.dims)

    def plan(self) -> Step:
        """The largest size, and the smaller ones of this step."""
        weights = {_cell(size): weight for size, weight in zip(self.sizes, self.sizes.weights, strict=True)}
        smaller = [cell for cell in weights if cell != self.teacher]
        if 0 < self.n_sizes_per_step < len(smaller):
            smaller = [smaller[place] for place in sorted(random.sample(range(len(smaller)), self.n_sizes_per_step))]
        pulls = {cell: self.kl_weight * weights[cell] for cell in smaller if self.kl_weight > 0}
        return Step({cell: weights[cell] for cell in (*smaller, self.teacher)}, pulls)

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card shows."""
        return {
            "loss": type(self.loss).__name__,
            "sizes": [str(size) for size in self.sizes],
            "n_sizes_per_step": self.n_sizes_per_step,
            "kl_weight": self.kl_weight,
            "kl_on": self.kl_on,
            "kl_temperature": self.kl_temperature,
        }

    @property
    def citation(self) -> str:
        """BibTeX of the paper, for model cards."""
        return """
@misc{zhuang2024starbucks,
    title={Starbucks: Improved Training for 2D Matryoshka Embeddings},
    author={Shengyao Zhuang and Shuai Wang and Bevan Koopman and Guido Zuccon},
    year={2024},
    eprint={2410.13230},
    archivePrefix={arXiv}
}
"""


def _cell(size: Size) -> Cell:
    return (size.layers, size.dims)
