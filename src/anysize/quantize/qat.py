"""Quantisation-aware training (MatQuant, section 3.1): the weights move, and every width of their codes is scored."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.errors import DataError
from anysize.core.training import TrainingPlan, train
from anysize.quantize.linear import FakeQuantEmbedding, FakeQuantLinear
from anysize.quantize.objective import Training
from anysize.quantize.tasks import collate, columns

if TYPE_CHECKING:
    from anysize.core.data import Data
    from anysize.core.model import NestedModel
    from anysize.quantize.method import MatQuant
    from anysize.quantize.model import Quantized


def teacher_for(method: MatQuant, data: Data, inner: NestedModel) -> NestedModel | None:
    """A copy of the float model, where there are no labels to learn from."""
    if len(columns(data, method.learn_from).columns) > 1:
        return None
    twin = copy.deepcopy(inner).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


def train_codes(
    method: MatQuant, data: Data, model: Quantized, teacher: NestedModel | None, workdir: Path, resume: bool
) -> dict[str, Any]:
    """Train a prepared model in place; returns what it learnt from, for the model's `about`."""
    rows = columns(data, method.learn_from)
    if len(rows) < 2:
        raise DataError(f"{data.name} has {len(rows)} rows to learn from; give at least 2")
    for parameter in model.parameters():
        parameter.requires_grad_(method.train == "all")
    for part in model.inner.modules():
        if isinstance(part, FakeQuantLinear | FakeQuantEmbedding):
            for parameter in part.parameters():
                parameter.requires_grad_(True)
    plan = TrainingPlan(
        epochs=method.epochs,
        batch_size=min(method.batch_size, len(rows)),
        learning_rate=method.learning_rate,
        seed=method.seed,
        warmup_ratio=0.1,
        bf16=method.bf16,
    )
    training = Training(model, method.widths(), method.scale, teacher)
    losses = train(training, rows, plan, workdir, resume=resume, collate=collate)
    return {"learnt_from": rows.what, "rows": len(rows), "losses": losses}
