"""Losses of self-distillation at every size: between views (DINO), at masked patches (iBOT), and of spread (KoLeo)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from anysize.core.errors import AnysizeError
from anysize.core.training.processes import place


def cross_entropy(scores: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """(n,): of a student's scores (n, K) against targets (n, K) that sum to 1."""
    return -(targets * functional.log_softmax(scores.float() / temperature, dim=-1)).sum(-1)


class NestedDINOLoss(nn.Module):
    """
    The mean cross-entropy over pairs of a student's view and a teacher's other view, summed over sizes.

    `weights` has a number for each size, 1 by default: the paper sums, and so do we. The mean is over all pairs
    alike, as it is in Franca (2 of 18 are pairs of large views).
    """

    def __init__(self, student_temp: float = 0.1, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.student_temp, self.weights = student_temp, weights

    def terms(
        self, student: Sequence[Sequence[torch.Tensor]], teacher: Sequence[Sequence[torch.Tensor]]
    ) -> list[torch.Tensor]:
        """
        A loss for each size: ``student[v][j]`` are the scores (n, K_j) of view v, ``teacher[t][j]`` targets of view t.

        The first views are the teacher's own; a view is not compared with itself.
        """
        pairs = [(v, t) for v in range(len(student)) for t in range(len(teacher)) if v != t]
        if not pairs:
            raise AnysizeError("there is one view; give at least two, so that one can be told from the other")
        sizes = len(student[0])
        losses = [
            torch.stack(
                [cross_entropy(student[v][j], teacher[t][j], self.student_temp).mean() for v, t in pairs]
            ).mean()
            for j in range(sizes)
        ]
        return _weighted(losses, self.weights)

    def forward(
        self, student: Sequence[Sequence[torch.Tensor]], teacher: Sequence[Sequence[torch.Tensor]]
    ) -> torch.Tensor:
        """The sum of `terms`."""
        return torch.stack(self.terms(student, teacher)).sum()


class NestedIBOTPatchLoss(nn.Module):
    """Cross-entropy at masked patches, averaged over those of a picture, summed over sizes (iBOT, Zhou 2022)."""

    def __init__(self, student_temp: float = 0.1, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.student_temp, self.weights = student_temp, weights

    def terms(
        self, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], masks: torch.Tensor
    ) -> list[torch.Tensor]:
        """
        A loss for each size, of scores and targets (masked, K_j) in the order of ``masks.nonzero()``.

        `masks` is (pictures, patches), true where masked. Its pictures all count, also those without a mask.
        """
        count = masks.sum(1)
        share = (1 / count.clamp_min(1).float())[:, None].expand_as(masks)[masks]
        for scores, targets in zip(student, teacher, strict=True):
            if not len(scores) == len(targets) == len(share):
                raise AnysizeError(
                    f"{len(scores)} scores and {len(targets)} targets for {len(share)} masked patches; "
                    "leave out padding"
                )
        losses = [
            (cross_entropy(scores, targets, self.student_temp) * share).sum() / len(masks)
            for scores, targets in zip(student, teacher, strict=True)
        ]
        return _weighted(losses, self.weights)

    def forward(
        self, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], masks: torch.Tensor
    ) -> torch.Tensor:
        """The sum of `terms`."""
        return torch.stack(self.terms(student, teacher, masks)).sum()


class KoLeoLoss(nn.Module):
    """
    Minus the mean log distance of each unit vector to its nearest other (Sablayrolles et al. 2019): spreads vectors.

    Under torchrun the nearest is sought among the vectors of all processes, so that the loss is that of one process.
    """

    def forward(self, vectors: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
        """Of vectors (n, d), in float32; 0 where there is one vector."""
        with torch.autocast(vectors.device.type, enabled=False):
            unit = functional.normalize(_everywhere(vectors.float()), dim=-1, eps=eps)
            if len(unit) < 2:
                return unit.sum() * 0
            with torch.no_grad():
                products = unit @ unit.T
                products.fill_diagonal_(-2)
                nearest = products.argmax(1)
            distances = (unit - unit[nearest]).square().sum(1).add(eps**2).sqrt()
            return -torch.log(distances + eps).mean()


def _everywhere(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all processes, the loss of which is each one's own: gradients of own rows count for all processes."""
    rank, world = place()
    if world == 1:
        return rows
    everyone = [torch.empty_like(rows) for _ in range(world)]
    torch.distributed.all_gather(everyone, rows.detach().contiguous())
    # Gradients are averaged over processes, and each gives those of its own rows alone: times their number.
    everyone[rank] = rows * world - (rows * (world - 1)).detach()
    return torch.cat(everyone)


def _weighted(losses: list[torch.Tensor], weights: Sequence[float] | None) -> list[torch.Tensor]:
    if weights is None:
        return losses
    if len(weights) != len(losses):
        raise AnysizeError(f"{len(weights)} weights for {len(losses)} sizes; give one weight per size")
    return [weight * loss for weight, loss in zip(weights, losses, strict=True)]
