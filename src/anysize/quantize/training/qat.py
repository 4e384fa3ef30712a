"""Quantisation-aware training (MatQuant, section 3.1): the weights move, and every width of their codes is scored."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anysize.backbones.texts.token_windows import texts_of, windows
from anysize.core.errors import DataError
from anysize.core.training.left_out import runner, watched
from anysize.core.training.trainer import TrainingPlan, train
from anysize.quantize.layers.fake import FakeQuantEmbedding, FakeQuantLinear
from anysize.quantize.training.columns import collate, columns
from anysize.quantize.training.objective import CodesTraining, LanguageTraining

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.contract import NestedModel
    from anysize.quantize.model.model import Quantized
    from anysize.quantize.training.method import MatQuant


def teacher_for(method: MatQuant, data: Data, inner: NestedModel) -> NestedModel | None:
    """A copy of the float model, where there are no labels to learn from; a language model has them in its texts."""
    if inner.gives == "next tokens" or len(columns(data, method.learn_from).columns) > 1:
        return None
    twin = copy.deepcopy(inner).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


def train_codes(
    method: MatQuant, data: Data, model: Quantized, teacher: NestedModel | None, workdir: Path, resume: bool
) -> dict[str, Any]:
    """Train a prepared model in place; returns what it learnt from, for the model's `about`."""
    rows: Any
    collator: Any
    training: Any
    if model.inner.gives == "next tokens":
        rows, what, collator = language_windows(method, data, model.inner), "windows of text", _stacked
        training = LanguageTraining(model, method.widths())
    else:
        rows = columns(data, method.learn_from, method.sides)
        what, collator = rows.what, collate
        training = CodesTraining(model, method.widths(), method.scale, teacher, rows.sides)
    if len(rows) < 2:
        raise DataError(f"{data.name} has {len(rows)} rows to learn from; give at least 2")
    for parameter in model.parameters():
        parameter.requires_grad_(method.train == "all")
    for part in model.inner.modules():
        if isinstance(part, FakeQuantLinear | FakeQuantEmbedding):
            for parameter in part.parameters():
                parameter.requires_grad_(True)
    kept, watch = watched(method, rows, method.batch_size, runner(training, collator))
    plan = TrainingPlan.of(method, len(kept))
    learnt = train(training, kept, plan, workdir, resume=resume, collate=collator, watch=watch)
    return {"learnt_from": what, "rows": len(rows), **learnt}


def language_windows(method: MatQuant, data: Data, inner: Any) -> torch.Tensor:
    """What a language model learns from, (n, tokens + 1); a tenth of the texts is left out to measure by."""
    if method.learn_from == "embeddings":
        raise DataError("a language model has no embeddings to learn from; leave out learn-from")
    if inner.tokenizer is None:
        raise DataError("this language model came without a tokenizer, so it cannot read texts")
    return windows(texts_of(data, held_out=False), inner.tokenizer, inner.max_length, data.name)


def _stacked(rows: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"windows": torch.stack(list(rows))}
