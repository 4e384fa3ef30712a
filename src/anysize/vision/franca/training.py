"""
What is trained: a student that tells from crops what a teacher says of the whole, at every size (Franca, section 3).

A hidden patch is pixels that are learnt, in place of the picture's: a transformer's patch embedding makes of them what
a mask token would be, and a convolutional network can be shown them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from anysize.backbones.vision.towers import Seen, Tower
from anysize.core.losses.nested import told
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.processes import place
from anysize.vision.franca.crops import FIRST, SECOND, SMALL, crops, draws
from anysize.vision.franca.method import Franca
from anysize.vision.heads.losses import KoLeoLoss, NestedDINOLoss, NestedIBOTPatchLoss
from anysize.vision.heads.masks import CyclicMaskGenerator, drawn_masks
from anysize.vision.heads.nested import NestedPrototypeHead, in_proportion
from anysize.vision.heads.sinkhorn import SinkhornQueue, sinkhorn_knopp
from anysize.vision.heads.teacher import Cosine, EMATeacher, TeacherTempSchedule


class Student(nn.Module):
    """A tower and its heads: one for pictures, one for patches where some are hidden."""

    def __init__(self, tower: Tower, method: Franca, nesting: Nesting, prototypes: int) -> None:
        super().__init__()
        self.tower = tower

        dims = nesting.values("dims")
        alike = method.heads == "alike"
        hidden = method.hidden if alike else in_proportion(method.hidden, dims, method.bottleneck)

        def head() -> NestedPrototypeHead:
            return NestedPrototypeHead(
                tower.width, prototypes, dims, hidden_dim=hidden,
                bottleneck_dim=method.bottleneck, nesting=method.nesting,
            )  # fmt: skip

        self.head = head()
        hides = method.masks != "none" and method.patch_weight > 0
        self.patch_head = head() if hides else None
        self.hidden = nn.Parameter(torch.zeros(3, tower.patch, tower.patch)) if hides else None

    def forward(self, pixels: torch.Tensor, masks: torch.Tensor | None = None) -> Seen:
        """Of pixels as the tower takes them (n, 3, side, side), patches hidden where `masks` (n, patches) is true."""
        if masks is not None and self.hidden is not None:
            rows, columns = self.tower.grid
            shown = masks.view(-1, 1, rows, columns)
            shown = shown.repeat_interleave(self.tower.patch, 2).repeat_interleave(self.tower.patch, 3)
            # Where the patches do not tile the square to its edge, nothing is hidden there.
            cover = pixels.new_zeros(len(pixels), 1, *pixels.shape[2:], dtype=torch.bool)
            cover[:, :, : shown.shape[2], : shown.shape[3]] = shown
            tiles = self.hidden.repeat(1, rows + 1, columns + 1)[:, : pixels.shape[2], : pixels.shape[3]]
            pixels = torch.where(cover, tiles, pixels)
        return cast(Seen, self.tower(pixels))


class FrancaTraining(nn.Module):
    """The loss of a batch of squares; `after_step` moves the teacher."""

    step: torch.Tensor

    def __init__(self, tower: Tower, method: Franca, nesting: Nesting, prototypes: int, steps: int) -> None:
        super().__init__()
        self.method, self.nesting, self.steps = method, nesting, steps
        self.student = Student(tower, method, nesting, prototypes)
        self.teacher = EMATeacher(self.student)
        self.queues = nn.ModuleList(SinkhornQueue(method.queue, method.bottleneck) for _ in nesting)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))  # a checkpoint keeps it, so a resume goes on
        self.dino, self.ibot = NestedDINOLoss(method.student_temp), NestedIBOTPatchLoss(method.student_temp)
        self.koleo = KoLeoLoss()
        cold, warm = method.teacher_temp
        self.temperature = TeacherTempSchedule(cold, warm, max(1, round(0.3 * steps)))
        self.momentum = Cosine(method.momentum, 1.0, steps)
        self.masker = CyclicMaskGenerator(tower.grid, roll=method.masks == "cyclic")
        self.local_side = max(2, round(98 / 224 * tower.side / tower.patch)) * tower.patch
        if not tower.any_size:
            self.local_side = tower.side

    @property
    def taught(self) -> Student:
        """The teacher's network."""
        return cast(Student, self.teacher.net)

    def after_step(self, step: int) -> None:
        """The teacher follows."""
        self.teacher.update(self.student, self.momentum(step))

    def forward(self, squares: torch.Tensor, rows: torch.Tensor) -> dict[str, Any]:
        """``{"loss": ...}`` of squares (n, 3, S, S) uint8, which are the pictures with the numbers `rows` (n,)."""
        method, tower, step = self.method, self.student.tower, int(self.step)
        if self.training:
            self.step += 1
        drawn = draws(rows, 2 + method.local_crops, method.seed, step)
        large, small = (
            [
                tower.prepared(crops(squares, one, side, scale, method.color, share))
                for one, share in zip(part, shares, strict=False)
            ]
            for part, side, scale, shares in (
                (drawn[:2], tower.side, method.global_scale, (FIRST, SECOND)),
                (drawn[2:], self.local_side, method.local_scale, [SMALL] * method.local_crops),
            )
        )
        whole = torch.cat(large)
        masks = self._masks(len(squares), step).to(whole.device) if self.student.patch_head is not None else None
        temperature = self.temperature(step)
        seen = self.student(whole, masks)
        says = self._told(whole)
        if not bool(torch.isfinite(says.pooled).all() & torch.isfinite(seen.pooled).all()):
            # Nothing can be balanced; whoever trains sees it in the loss, stops, and keeps the last checkpoint.
            return {"loss": seen.pooled.sum() * float("nan")}
        targets = self._targets(says.pooled, temperature)
        scores = self.student.head(seen.pooled)
        if small:
            more = self.student.head(self.student(torch.cat(small)).pooled)
            scores = [torch.cat(pair) for pair in zip(scores, more, strict=True)]
        n = len(squares)
        terms = self.dino.terms(_by_view(scores, n), _by_view(targets, n))
        if masks is not None and self.student.patch_head is not None and bool(masks.any()):
            told_of = self._patch_targets(says.patches.flatten(1, 2)[masks], temperature)
            mine = self.student.patch_head(seen.patches.flatten(1, 2)[masks])
            terms = [
                one + method.patch_weight * other
                for one, other in zip(terms, self.ibot.terms(mine, told_of, masks), strict=True)
            ]
        loss = torch.stack(terms).sum()
        if method.koleo:
            loss = loss + method.koleo * sum(self.koleo(part) for part in seen.pooled.split(n))
        return {"loss": loss, **told(self, dict(zip(self.nesting, terms, strict=True)))}

    def _told(self, whole: torch.Tensor) -> Seen:
        with torch.no_grad():
            return cast(Seen, self.taught.tower(whole))

    def _masks(self, n: int, step: int) -> torch.Tensor:
        """(2n, patches) of this process's pictures, drawn for all of all processes: their number decides nothing."""
        (rank, world), (low, high) = place(), self.method.mask_ratio
        own = torch.Generator().manual_seed((self.method.seed * 1_000_003 + step) % 2**63)
        every = drawn_masks(self.masker, 2 * n * world, (low, high), 0.5, own)
        return every.view(2, n * world, -1)[:, rank * n : (rank + 1) * n].flatten(0, 1)

    @torch.no_grad()
    def _targets(self, pooled: torch.Tensor, temperature: float) -> list[torch.Tensor]:
        head, found = self.taught.head, []
        queues = [cast(SinkhornQueue, queue) for queue in self.queues]
        features_of = head.features(pooled)
        held = [torch.cat([one.float(), queue.held]) for one, queue in zip(features_of, queues, strict=True)]
        for scores, features, queue in zip(head.scores(held), features_of, queues, strict=True):
            found.append(sinkhorn_knopp(scores, temperature)[: len(pooled)])
            if self.training:
                queue.push(features)
        return found

    @torch.no_grad()
    def _patch_targets(self, tokens: torch.Tensor, temperature: float) -> list[torch.Tensor]:
        assert self.taught.patch_head is not None
        return [sinkhorn_knopp(scores, temperature) for scores in self.taught.patch_head(tokens)]


def _by_view(scores: Sequence[torch.Tensor], n: int) -> list[list[torch.Tensor]]:
    """Of each size (views x n, K) -> of each view, of each size (n, K)."""
    return [list(view) for view in zip(*(one.split(n) for one in scores), strict=True)]
