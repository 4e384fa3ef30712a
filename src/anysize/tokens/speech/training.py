"""
Transcripts learnt at several rates (Llama-MTSK, section 3.2; tasks and one pair a step as in Omni-AVSR, 2511.07253).

The loss of a scale is the mean over the transcripts' tokens; a task's is the mean over its scales, and the tasks' are
added with their weights. Each scale is gone back through before the next is read, so that memory is one scale's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from anysize.core.sizes.size import Size
from anysize.core.training.trainer import TrainingPlan, train
from anysize.tokens.draws import Draw
from anysize.tokens.speech.clips import Clip
from anysize.tokens.speech.model import Heard, NestedSpeech
from anysize.tokens.speech.scaled.scales import Scale, scales_of
from anysize.tokens.speech.scaled.sequences import IGNORED

Source = Callable[[Sequence[int]], tuple[Heard, list[str]]]
"""The clips of some rows, heard, and what is said in them."""


class SpeechTraining(nn.Module):
    """The loss of a batch of clips at the scales of the step; what `train` trains."""

    step: torch.Tensor

    def __init__(
        self, model: NestedSpeech, source: Source, draw: Draw, weights: Mapping[str, float], seed: int = 0
    ) -> None:
        super().__init__()
        self.source = source
        self.model, self.draw, self.weights, self.seed = model, draw, dict(weights), seed
        self.register_buffer("step", torch.zeros((), dtype=torch.long))  # a checkpoint keeps it, so a resume goes on
        self.last: dict[Scale, float] = {}
        """Each scale's own loss at the last step."""

    def forward(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """``{"loss": ...}`` of the clips of these rows."""
        heard, texts = self.source(rows)
        sizes = self.draw.pick(self.model.nesting, int(self.step), self.seed)
        self.step += 1
        weights = scale_weights(sizes, self.weights)
        shared = [one for rows in heard.frames.values() for one in rows if one is not None]

        def loss_at(scale: Scale, frames: Sequence[torch.Tensor]) -> torch.Tensor:
            given = iter(frames)
            held = {axis: [None if one is None else next(given) for one in rows] for axis, rows in heard.frames.items()}
            return transcript_loss(self.model, Heard(heard.tasks, held, heard.seconds), texts, scale)

        total, self.last = each_by_itself(loss_at, weights, shared, [*self.model.parameters()])
        return {"loss": total}


def scale_weights(sizes: Sequence[Size], tasks: Mapping[str, float]) -> dict[Scale, float]:
    """The weight of each scale of these sizes, so that every task's add up to its own and all to 1."""
    whole, found = sum(tasks.values()), dict[Scale, float]()
    for task, weight in tasks.items():
        scales = scales_of(sizes, task)
        found |= {scale: weight / whole / len(scales) for scale in scales}
    return found


def transcript_loss(model: NestedSpeech, heard: Heard, texts: Sequence[str], scale: Scale) -> torch.Tensor:
    """
    Mean cross-entropy of the transcripts' tokens at one scale, which may be given less than the clips have.

    Clips that lack what the scale is given (a film, where speech is also learnt from sound alone) are left out.
    """
    there = [row for row in range(len(texts)) if all(heard.frames[axis][row] is not None for axis in scale.rates)]
    if not there:
        return 0.0 * model.marks.sum()
    if len(there) < len(texts):
        heard, texts = heard.take(there), [texts[row] for row in there]
    rows = model.rows(heard, scale, texts)
    batch = model.writer.batch(rows, model.marks)
    longest = max(len(row.text) for row in rows)
    logits = model.logits(batch, scale, longest + 1)[:, :-1]  # a token is foretold by the one before it
    loss = functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.labels[:, -longest:].flatten(), ignore_index=IGNORED
    )
    if model.adapters is not None and model.training:
        loss = loss + sum(model.adapters.losses().values())
    return loss


def each_by_itself(
    loss_at: Callable[[Scale, Sequence[torch.Tensor]], torch.Tensor],
    weights: Mapping[Scale, float],
    shared: Sequence[torch.Tensor],
    parameters: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, dict[Scale, float]]:
    """
    ``sum_s weights[s] * loss_at(s, shared)`` and its terms; the graph of one scale is freed before the next is made.

    Its gradients, to `parameters` and to `shared`, are those of the plain sum.
    """
    terms: dict[Scale, float] = {}
    total: torch.Tensor = _EachByItself.apply(loss_at, weights, terms, len(shared), *shared, *parameters)
    return total, terms


class _EachByItself(torch.autograd.Function):
    """Goes back through each scale on the way forward, and hands on what it found when asked to go back."""

    @staticmethod
    def forward(ctx: Any, loss_at: Any, weights: Any, terms: Any, count: int, *given: torch.Tensor) -> torch.Tensor:
        shared = [one.detach().requires_grad_(one.requires_grad) for one in given[:count]]
        leaves = [one for one in (*shared, *given[count:]) if one.requires_grad]
        found: list[torch.Tensor | None] = [None] * len(leaves)
        total = given[-1].new_zeros((), dtype=torch.float32)
        for scale, weight in weights.items():
            with torch.set_grad_enabled(bool(leaves)):
                loss = loss_at(scale, shared)
            terms[scale] = float(loss.detach())
            total = total + weight * loss.detach()
            grads = torch.autograd.grad(loss, leaves, loss.new_tensor(weight), allow_unused=True) if leaves else ()
            found = [
                old if new is None else new if old is None else old + new for old, new in zip(found, grads, strict=True)
            ]
        ctx.found, ctx.needs = found, [one.requires_grad for one in given]
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        kept = iter(ctx.found)
        each = [next(kept) if needs else None for needs in ctx.needs]
        return None, None, None, None, *(None if one is None else one * grads[0] for one in each)


def learn(
    model: NestedSpeech,
    clips: Sequence[Clip],
    plan: TrainingPlan,
    workdir: Path,
    *,
    draw: Draw,
    weights: Mapping[str, float],
    everything: bool = False,
    resume: bool = False,
) -> list[dict[str, float]]:
    """
    Train what adapts a model, or `everything`, in place; returns the losses on the way.

    What is frozen runs once: encoders that do not learn hear every clip before the first step.
    """
    heard = None if everything else model.eval().read(clips)

    def source(rows: Sequence[int]) -> tuple[Heard, list[str]]:
        chosen = [clips[row] for row in rows]
        return heard.take(rows) if heard is not None else model.hear(chosen), [str(clip.text) for clip in chosen]

    names = set(model.learnt())
    for name, weight in model.named_parameters():
        weight.requires_grad_(everything or name in names)
    module = SpeechTraining(model, source, draw, weights, plan.seed).train()
    try:
        losses: list[dict[str, float]] = train(module, range(len(clips)), plan, workdir, resume=resume, collate=_rows)[
            "losses"
        ]
    finally:
        for weight in model.parameters():
            weight.requires_grad_(True)
        model.eval()
    return losses


def _rows(rows: Sequence[int]) -> dict[str, Sequence[int]]:
    return {"rows": rows}
