"""
Losses over layers and prefixes of one encoder: the terms of 2DMSE (arXiv 2402.14776) and Starbucks (arXiv 2410.13230).

All sizes share one forward pass; where the loss is in-batch softmax over cosines, the prefixes of a layer share the
products too (`anysize.core.losses.prefix`). The teacher of every pull is detached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn import functional

from anysize.core.errors import AnysizeError
from anysize.text.losses.dims import in_batch_softmax, shares_work
from anysize.text.losses.standin import with_model
from anysize.text.losses.taps import LayeredStandIn, Tapper, gathered, joins

KL = Literal["pooled", "output", "similarity"]
Cell = tuple[int, int | None]
"""A layer and a prefix length; None is the whole vector as the model gives it."""


@dataclass(frozen=True)
class Step:
    """What one step computes: the weight of the loss at each cell, and of each cell's pull to the last layer."""

    terms: Mapping[Cell, float]
    pulls: Mapping[Cell, float]


class LayeredLoss(torch.nn.Module):
    """
    A loss of sentence-transformers at several (layer, prefix) cells of one model; subclasses say which, how weighted.

    `kl_on` names what the pull compares. ``pooled``: softmax over the features of the pooled vectors, before any
    normalisation. ``output``: the same on what the model gives, normalised if it ends with that (there the pull all
    but vanishes). ``similarity``: softmax over the cosines of a row with the rest of the batch, free of scale.
    `last_terms` and `last_pulls` hold each cell's share of the last step, unweighted and detached.
    """

    model: Any
    loss: Any

    def __init__(
        self,
        model: torch.nn.Module,
        loss: torch.nn.Module,
        *,
        kl_on: KL,
        kl_temperature: float,
        detach_teacher: bool = True,
        mini_batch_size: int | None = None,
        gather_across_devices: bool = False,
    ) -> None:
        super().__init__()
        if kl_on not in ("pooled", "output", "similarity"):
            raise AnysizeError(f"kl_on is {kl_on!r}; the choices are pooled, output, similarity")
        if getattr(loss, "uses_gradient_cache", False):
            raise AnysizeError(
                f"{type(loss).__name__} runs its own backward pass; give its uncached twin and mini_batch_size instead"
            )
        if mini_batch_size is not None and mini_batch_size < 1:
            raise AnysizeError(f"mini_batch_size is {mini_batch_size}; give at least 1")
        self.model, self.loss = model, loss
        self.kl_on, self.kl_temperature, self.detach_teacher = kl_on, kl_temperature, detach_teacher
        self.mini_batch_size, self.gather_across_devices = mini_batch_size, gather_across_devices
        self.final_norm = True
        self.last_terms: dict[Cell, torch.Tensor] = {}
        self.last_pulls: dict[Cell, torch.Tensor] = {}
        self.depth = Tapper(model).depth
        self.teacher: Cell = (self.depth, None)

    def plan(self) -> Step:
        """The cells of this step; drawn anew each time where some are drawn."""
        raise NotImplementedError

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: torch.Tensor | None = None) -> torch.Tensor:
        """The weighted sum over the cells of this step, a scalar."""
        columns, step = list(sentence_features), self._agreed(self.plan())
        tapper = Tapper(
            self.model,
            mini_batch_size=self.mini_batch_size,
            gather=self.gather_across_devices,
            final_norm=self.final_norm,
        )
        layers = sorted({layer for layer, _ in (*step.terms, *step.pulls, *([self.teacher] if step.pulls else []))})
        if self.gather_across_devices and isinstance(labels, torch.Tensor):
            labels = gathered(labels)
        taps, terms = self._terms(tapper, columns, labels, layers, list(step.terms))
        pulls = {cell: self._pull(tapper, taps, cell) for cell in step.pulls}
        self.last_terms = {cell: term.detach() for cell, term in terms.items()}
        self.last_pulls = {cell: pull.detach() for cell, pull in pulls.items()}
        weighted = [step.terms[cell] * term for cell, term in terms.items()]
        return torch.stack(weighted + [step.pulls[cell] * pull for cell, pull in pulls.items()]).sum()

    def terms_by_size(self) -> dict[str, torch.Tensor]:
        """`last_terms`, by the names of the sizes; a vector as the model gives it has no dims."""
        named = {cell: "" if cell[1] is None else f",dims={cell[1]}" for cell in self.last_terms}
        return {f"layers={cell[0]}{dims}": self.last_terms[cell] for cell, dims in named.items()}

    def _agreed(self, step: Step) -> Step:
        """The first process's step, where batches are joined: rows of one layer must not meet rows of another."""
        if not (self.gather_across_devices and joins()):
            return step
        box = [step]
        torch.distributed.broadcast_object_list(box, device=next(self.model.parameters()).device)
        return box[0]

    def _terms(
        self,
        tapper: Tapper,
        columns: list[dict[str, Any]],
        labels: torch.Tensor | None,
        layers: Sequence[int],
        cells: Sequence[Cell],
    ) -> tuple[list[dict[int, torch.Tensor]], dict[Cell, torch.Tensor]]:
        """Vectors by column and layer, and the loss at every cell."""
        if shares_work(self.loss, MultipleNegativesRankingLoss) and self.loss.model is self.model and len(columns) > 1:
            taps = [tapper.run(column, layers) for column in columns]
            return taps, self._shared_terms(taps, cells)
        standin = LayeredStandIn(tapper, layers)
        loss = with_model(self.loss, self.model, standin)
        as_given = [dict(column) for column in columns]
        terms = {}
        for layer, dim in cells:
            standin.show_layer(layer, dim)
            # The loss may write into what it is given; every cell gets the columns as they came.
            value = loss([dict(column) for column in as_given], labels)
            terms[layer, dim] = torch.stack(list(value.values())).sum() if isinstance(value, dict) else value
            standin.check(type(self.loss).__name__)
        return standin.columns(), terms

    def _shared_terms(self, taps: list[dict[int, torch.Tensor]], cells: Sequence[Cell]) -> dict[Cell, torch.Tensor]:
        width = next(iter(taps[0].values())).shape[1]
        terms: dict[Cell, torch.Tensor] = {}
        for layer in dict.fromkeys(layer for layer, _ in cells):
            # The cosine of whole vectors is that of their longest prefix.
            lengths = {dim or width: (at, dim) for at, dim in cells if at == layer}
            queries, documents = taps[0][layer], torch.cat([column[layer] for column in taps[1:]])
            losses = in_batch_softmax(self.loss, queries, documents, tuple(sorted(lengths)))
            terms |= {lengths[length]: loss for length, loss in zip(sorted(lengths), losses, strict=True)}
        return {cell: terms[cell] for cell in cells}

    def _pull(self, tapper: Tapper, taps: list[dict[int, torch.Tensor]], cell: Cell) -> torch.Tensor:
        """KL(teacher || this cell) of what `kl_on` names: features at the cell's prefix, or each one's similarities."""
        (layer, dim), (top, width) = cell, self.teacher
        students = [column[layer] for column in taps]
        teachers = [column[top].detach() if self.detach_teacher else column[top] for column in taps]
        if self.kl_on == "similarity":
            student, teacher = _similarity_rows(students, dim), _similarity_rows(teachers, width)
            return _divergence(student / self.kl_temperature, teacher / self.kl_temperature)
        student, teacher = torch.cat(students), torch.cat(teachers)
        if self.kl_on == "output":
            student, teacher = tapper.output(student), tapper.output(teacher)
        student, teacher = student[:, :dim] / self.kl_temperature, teacher[:, :dim] / self.kl_temperature
        return self.kl_temperature * _divergence(student, teacher)


def _similarity_rows(columns: Sequence[torch.Tensor], dim: int | None) -> torch.Tensor:
    """Cosines of the first column's rows with all rows of the others; of one column, with its other rows."""
    unit = [functional.normalize(column[:, :dim].float(), dim=-1) for column in columns]
    if len(unit) > 1:
        return unit[0] @ torch.cat(unit[1:]).T
    count = len(unit[0])
    others = ~torch.eye(count, dtype=torch.bool, device=unit[0].device)
    return (unit[0] @ unit[0].T)[others].view(count, count - 1)


def _divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(softmax(teacher) || softmax(student)), the mean over rows."""
    return functional.kl_div(
        functional.log_softmax(student.float(), dim=-1),
        functional.log_softmax(teacher.float(), dim=-1),
        reduction="batchmean",
        log_target=True,
    )
