"""
2DMSE (Li et al. 2024, arXiv 2402.14776): layers and prefixes trained together, drawn anew at each step.

The objective is the paper's: the last layer and one drawn layer, each at full width and at one drawn prefix, and a pull
of the drawn layer to the last. What sentence-transformers calls by these names differs from it in four ways (its draw
includes the embedding table, it does not always train the full width, it compares what the model gives, and it divides
by a temperature of 0.3); `as_sentence_transformers` makes that one, value for value.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch

from anysize.core.errors import AnysizeError, SizeError
from anysize.text.losses.dims import check_dims
from anysize.text.losses.layered import KL, Cell, LayeredLoss, Step
from anysize.text.losses.taps import unwrapped

Weighting = Literal["uniform", "log", "linear"] | Callable[[int], float]


class AdaptiveLayerLoss(LayeredLoss):
    """
    A loss at the last layer and at `n_layers_per_step` drawn earlier ones (-1: all), at full width.

    Arguments that sentence-transformers' class of this name also has mean the same; the prior layers' losses are
    averaged over the layers drawn, their pulls are summed; layer 0, which is drawn too, is the embedding table, and the
    number of a layer is what `layer_weighting` is asked of. Beyond it: the draw is from `layers`, or begins at
    `min_layer` (1 leaves out the table, at which no cut model ends), `kl_on` says what is compared (see `LayeredLoss`),
    `detach_teacher` keeps the last layer out of the pull, `mini_batch_size` bounds memory, `gather_across_devices`
    joins batches.

    Raises `SizeError` if there are not so many layers, `AnysizeError` if an argument is not one of its choices.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: torch.nn.Module,
        n_layers_per_step: int = 1,
        last_layer_weight: float = 1.0,
        prior_layers_weight: float = 1.0,
        kl_div_weight: float = 1.0,
        kl_temperature: float = 1.0,
        layer_weighting: Weighting = "uniform",
        *,
        layers: Sequence[int] | None = None,
        min_layer: int = 0,
        kl_on: KL = "pooled",
        detach_teacher: bool = True,
        mini_batch_size: int | None = None,
        gather_across_devices: bool = False,
    ) -> None:
        super().__init__(
            model,
            loss,
            kl_on=kl_on,
            kl_temperature=kl_temperature,
            detach_teacher=detach_teacher,
            mini_batch_size=mini_batch_size,
            gather_across_devices=gather_across_devices,
        )
        if not callable(layer_weighting) and layer_weighting not in ("uniform", "log", "linear"):
            raise AnysizeError(f"layer_weighting is {layer_weighting!r}; the choices are uniform, log, linear")
        self.layers = tuple(range(min_layer, self.depth) if layers is None else layers)
        if layers is None and not 0 <= min_layer < self.depth:
            raise SizeError(f"min_layer={min_layer} leaves no layer below the last of {self.depth}")
        for layer in self.layers:
            if not 0 <= layer < self.depth:
                raise SizeError(f"layers holds {layer}, which is not below the last of {self.depth}")
        if n_layers_per_step == 0 or n_layers_per_step < -1:
            raise SizeError(f"n_layers_per_step is {n_layers_per_step}; give a number of layers, or -1 for all")
        self.n_layers_per_step = n_layers_per_step
        self.last_layer_weight, self.prior_layers_weight = last_layer_weight, prior_layers_weight
        self.kl_div_weight, self.layer_weighting = kl_div_weight, layer_weighting

    @classmethod
    def as_sentence_transformers(cls, model: torch.nn.Module, loss: torch.nn.Module, **arguments: Any) -> Self:
        """The objective of sentence-transformers' class of this name, with its defaults, draws and values."""
        made = cls(model, loss, **{"kl_temperature": 0.3, "min_layer": 0, "kl_on": "output", **arguments})
        made.final_norm = False
        return made

    def plan(self) -> Step:
        """The last layer and the drawn ones, each at this step's prefixes; a pull for each drawn layer."""
        dims = self._dims()
        terms: dict[Cell, float] = {(self.depth, dim): self.last_layer_weight * weight for dim, weight in dims.items()}
        drawn = self._layers()
        for layer in drawn:
            if self._redraws:
                dims = self._dims()
            share = self._layer_weight(layer) / len(drawn) * self.prior_layers_weight
            terms |= {(layer, dim): share * weight for dim, weight in dims.items()}
        pulled = drawn if self.kl_div_weight > 0 and self.kl_temperature > 0 else ()
        return Step(terms, {(layer, None): self.kl_div_weight for layer in pulled})

    _redraws = False

    def _dims(self) -> dict[int | None, float]:
        return {None: 1.0}

    def _layers(self) -> Sequence[int]:
        if 0 < self.n_layers_per_step < len(self.layers):
            return random.sample(self.layers, self.n_layers_per_step)
        return self.layers

    def _layer_weight(self, layer: int) -> float:
        if not isinstance(self.layer_weighting, str):
            return self.layer_weighting(layer)
        if self.layer_weighting == "log":
            return 1 / (1 + math.log(1 + layer))
        return 1 / (1 + layer) if self.layer_weighting == "linear" else 1.0

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card shows."""
        weighting = self.layer_weighting
        return {
            "loss": type(self.loss).__name__,
            "n_layers_per_step": self.n_layers_per_step,
            "last_layer_weight": self.last_layer_weight,
            "prior_layers_weight": self.prior_layers_weight,
            "kl_div_weight": self.kl_div_weight,
            "kl_temperature": self.kl_temperature,
            "kl_on": self.kl_on,
            "layer_weighting": weighting if isinstance(weighting, str) else getattr(weighting, "__name__", "custom"),
            "layers": self.layers,
        }

    @property
    def citation(self) -> str:
        """BibTeX of the paper, for model cards."""
        return """
@misc{li20242d,
    title={2D Matryoshka Sentence Embeddings},
    author={Xianming Li and Zongxi Li and Jing Li and Haoran Xie and Qing Li},
    year={2024},
    eprint={2402.14776},
    archivePrefix={arXiv},
    primaryClass={cs.CL}
}
"""


class Matryoshka2dLoss(AdaptiveLayerLoss):
    """
    2DMSE: `AdaptiveLayerLoss`, with each layer of a step also at `n_dims_per_step` drawn prefixes (-1: all).

    ``L = l(last, D) + l(last, d) + l(n, D) + l(n, d) + KL(last || n)``, n and d drawn at each step (the paper's
    defaults); n is at least `min_layer`. `always_full_dim` trains the full width D at both layers in every step, also
    where `matryoshka_dims` leaves it out; without it, prefixes are drawn anew for each layer from the list as it is.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: torch.nn.Module,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        n_layers_per_step: int = 1,
        n_dims_per_step: int = 1,
        last_layer_weight: float = 1.0,
        prior_layers_weight: float = 1.0,
        kl_div_weight: float = 1.0,
        kl_temperature: float = 1.0,
        layer_weighting: Weighting = "uniform",
        *,
        min_layer: int = 1,
        always_full_dim: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            model,
            loss,
            n_layers_per_step,
            last_layer_weight,
            prior_layers_weight,
            kl_div_weight,
            kl_temperature,
            layer_weighting,
            min_layer=min_layer,
            **options,
        )
        weights: list[float] = list([1.0] * len(matryoshka_dims) if matryoshka_weights is None else matryoshka_weights)
        self.width: int = unwrapped(model).get_embedding_dimension()
        check_dims(list(matryoshka_dims), weights, n_dims_per_step, self.width, full=not always_full_dim)
        ordered = sorted(zip(matryoshka_dims, weights, strict=True), reverse=True)
        self.matryoshka_dims = tuple(dim for dim, _ in ordered)
        self.matryoshka_weights = tuple(weight for _, weight in ordered)
        self.n_dims_per_step, self.always_full_dim = n_dims_per_step, always_full_dim
        self._redraws = not always_full_dim

    @classmethod
    def as_sentence_transformers(cls, model: torch.nn.Module, loss: torch.nn.Module, **arguments: Any) -> Self:
        """The objective of sentence-transformers' class of this name, with its defaults, draws and values."""
        return super().as_sentence_transformers(model, loss, **{"always_full_dim": False, **arguments})

    def _dims(self) -> dict[int | None, float]:
        weights: dict[int | None, float] = dict(zip(self.matryoshka_dims, self.matryoshka_weights, strict=True))
        always: dict[int | None, float] = {}
        if self.always_full_dim:
            always = {self.width: weights.pop(self.width, 1.0)}
        listed, count = list(weights), self.n_dims_per_step
        if 0 < count < len(listed):
            listed = [listed[place] for place in sorted(random.sample(range(len(listed)), count))]
        return always | {dim: weights[dim] for dim in listed}

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card shows."""
        return {
            **super().get_config_dict(),
            "matryoshka_dims": self.matryoshka_dims,
            "matryoshka_weights": self.matryoshka_weights,
            "n_dims_per_step": self.n_dims_per_step,
            "always_full_dim": self.always_full_dim,
        }
