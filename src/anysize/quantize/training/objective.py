"""
The nested objective over widths (MatQuant, equation 7): one batch, one pass per width, a weighted sum of losses.

Co-distillation (section 3.2) draws narrow widths to a wide one of the same model, which stands still meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import nn

from anysize.core.losses.columns import cosent, in_batch_softmax
from anysize.core.losses.nested import nested_loss, told
from anysize.core.losses.tokens import divergence, next_token_loss
from anysize.core.sides import Side, SidedTexts
from anysize.core.sizes.size import Size
from anysize.quantize.codes.running import one_step
from anysize.quantize.model.model import Quantized
from anysize.quantize.training.columns import apart
from anysize.quantize.training.widths import Widths


class NestedTraining(nn.Module):
    """
    A prepared model with its loss, as the trainer wants them.

    Dropout stays off: the widths of a step, and their teacher, are compared on equal terms.
    """

    def __init__(self, model: Quantized, widths: Widths) -> None:
        super().__init__()
        self.model, self.widths = model, widths
        self.sizes = tuple(size for size in model.nesting if size.bits in widths.looked_at)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of this module, never of the model within."""
        super().train(mode)
        self.model.eval()
        return self

    def total(
        self, loss_at: Callable[[Size], torch.Tensor], between: Callable[[Size, Size], torch.Tensor]
    ) -> dict[str, Any]:
        """Equation 7; ``between(narrow, wide)`` is how far the outputs of two sizes are apart."""
        used = [size for size in self.sizes if self.widths.weights[size.bits] > 0]
        found = nested_loss(self.model.nesting, loss_at, sizes=used)
        total = found.total
        for size in self.sizes:
            pull = self.widths.pulls.get(size.bits)
            if pull is not None and self.widths.teacher is not None:
                total = total + pull * between(size, size.replace(bits=self.widths.teacher))
        return {"loss": total, **told(self, found.terms)}


class LanguageTraining(NestedTraining):
    """A language model: ``forward`` takes windows of tokens."""

    def forward(self, windows: torch.Tensor) -> dict[str, Any]:
        """The loss of every next token of windows (n, tokens + 1), summed over sizes."""
        with one_step():
            found = self.model.outputs(windows[:, :-1], self.sizes)
        return self.total(
            lambda size: next_token_loss(found[size], windows),
            lambda narrow, wide: divergence(found[narrow], found[wide]),
        )


class CodesTraining(NestedTraining):
    """
    A sentence encoder: ``forward`` takes a batch of texts by column.

    `teacher`, the float model, is what a batch without partners or scores learns from. `sides` says where in a search
    each column stands.
    """

    def __init__(
        self, model: Quantized, widths: Widths, scale: float, teacher: Any = None, sides: Sequence[Side | None] = ()
    ) -> None:
        super().__init__(model, widths)
        self.scale, self.sides = scale, sides
        self._teacher = (teacher,)  # in a tuple: it is not trained and not saved with a checkpoint

    def forward(
        self, columns: list[list[str]], scores: torch.Tensor | None = None, first: Sequence[Side | None] | None = None
    ) -> dict[str, Any]:
        """The loss of one batch, summed over sizes; `first` are the sides of texts that stand alone, if they differ."""
        sides = self.sides or [None] * len(columns)
        parts = [[SidedTexts(texts, side)] for texts, side in zip(columns, sides, strict=True)]
        taught = None
        if len(columns) == 1:
            parts = [_by_side(columns[0], first or [sides[0]] * len(columns[0]))]
            taught = torch.cat([self._taught(texts) for texts in parts[0]])
        with one_step():
            by_column = [_joined([self.model.outputs(texts, self.sizes) for texts in part]) for part in parts]

        def loss_at(size: Size) -> torch.Tensor:
            vectors = [found[size] for found in by_column]
            if taught is not None:
                return apart(vectors[0], _prefix(taught, vectors[0].shape[-1]))
            if scores is not None:
                return cosent((vectors[0] * vectors[1]).sum(-1), scores, 1 / self.scale)
            return in_batch_softmax(vectors, self.scale)

        return self.total(
            loss_at,
            lambda narrow, wide: torch.stack([apart(found[narrow], found[wide]) for found in by_column]).mean(),
        )

    @torch.no_grad()
    def _taught(self, texts: list[str]) -> torch.Tensor:
        (teacher,) = self._teacher
        teacher.to(next(self.model.parameters()).device)
        found: torch.Tensor = teacher.at()(texts)
        return found


def _by_side(texts: Sequence[str], sides: Sequence[Side | None]) -> list[SidedTexts]:
    """The texts of each side; their order is lost."""
    return [
        SidedTexts([text for text, other in zip(texts, sides, strict=True) if other == side], side)
        for side in dict.fromkeys(sides)
    ]


def _joined(found: Sequence[dict[Size, torch.Tensor]]) -> dict[Size, torch.Tensor]:
    return {size: torch.cat([one[size] for one in found]) for size in found[0]}


def _prefix(vectors: torch.Tensor, dims: int) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors[:, :dims], dim=-1)
