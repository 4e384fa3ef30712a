"""Fitting a sentence encoder at several depths and widths: texts in columns, one nested loss, the house trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anysize.backbones.blocks import checkpoint_activations, find_stack, truncated
from anysize.backbones.layered import Backbone
from anysize.backbones.sentence import Encoder, trainable
from anysize.backbones.texts.cut_texts import say_cut
from anysize.backbones.texts.prompts import prompt_in
from anysize.core.data.columns import Row, training_columns
from anysize.core.errors import DataError
from anysize.core.losses.nested import told
from anysize.core.sides import Side
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.left_out import Judge, runner, watched
from anysize.core.training.trainer import TrainingPlan, train
from anysize.text.depth.methods import LayeredMethod
from anysize.text.depth.model import NestedEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from anysize.core.data.data import Data
    from anysize.text.losses.layered import LayeredLoss


class TextTraining(torch.nn.Module):
    """The model and its loss, as the trainer wants them: the loss of a batch of texts."""

    def __init__(self, model: SentenceTransformer, loss: LayeredLoss, sides: Sequence[Side | None]) -> None:
        super().__init__()
        self.model = model
        self.prompts = [prompt_in(model, side) for side in sides]
        """What goes before the texts of each column."""
        self._loss = (loss,)  # in a tuple: what it holds is the model's own, and is saved once

    def collate(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Token ids of each column behind its prompt, and the scores as labels."""
        by_column = zip(*(row.texts for row in rows), strict=True)
        columns = [
            self.model.preprocess(list(texts), prompt=prompt or None)
            for texts, prompt in zip(by_column, self.prompts, strict=True)
        ]
        labels = [row.score for row in rows if row.score is not None]
        return {"columns": [dict(column) for column in columns], "labels": torch.tensor(labels) if labels else None}

    def forward(self, columns: list[dict[str, Any]], labels: torch.Tensor | None = None) -> dict[str, Any]:
        """The nested loss of one batch."""
        (loss,) = self._loss
        return {"loss": loss(columns, labels), **told(self, loss.terms_by_size())}


def fit(method: LayeredMethod, data: Data, workdir: Path, resume: bool, judge: Judge | None = None) -> NestedEncoder:
    """
    Tune every weight of `method.model` with the loss that it names, and wrap the result.

    In-batch softmax for pairs and triplets, CoSENT for scored pairs. Blocks deeper than the largest size are dropped.
    """
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss

    model, nesting = base_of(method)
    columns = training_columns(data, method.sides)
    assert columns is not None  # the method needs them
    if len(columns) < 2:
        raise DataError(f"{data.name} has {len(columns)} rows to learn from; give at least 2")
    prompts = [prompt_in(model, side) for side in columns.sides]
    texts = [prompt + text for prompt, column in zip(prompts, columns.columns, strict=True) for text in column]
    say_cut(texts, model.tokenizer, model.max_seq_length or math.inf, advice="; --max-length sets where")
    inner = (
        CoSENTLoss(model, scale=method.scale)
        if columns.scores is not None
        else MultipleNegativesRankingLoss(model, scale=method.scale)
    )
    if method.gradient_checkpointing:
        checkpoint_activations(model[0].auto_model)
    training = TextTraining(model, method.loss(model, inner), columns.sides)

    def made() -> NestedEncoder:
        return NestedEncoder(nesting, Backbone.of(model)).eval()

    run = runner(training, training.collate)
    rows, watch = watched(method, columns, method.batch_size, run, judge, made)
    plan = TrainingPlan.of(method, len(rows))
    learnt = train(training, rows, plan, workdir, resume=resume, collate=training.collate, watch=watch)
    encoder = made()
    encoder.about = {"learnt_from": columns.what, "rows": len(columns), **learnt}
    return encoder


def base_of(method: LayeredMethod) -> tuple[Any, Nesting]:
    """The model to tune, without blocks that no size runs, and the nesting for its shape."""
    model = trainable(Encoder(method.base_model()).model)
    if method.max_length is not None:
        model.max_seq_length = method.max_length
    transformer: Any = model[0]
    stack = find_stack(transformer.auto_model)
    sizes = method.nesting(stack.depth, int(model.get_embedding_dimension() or 0))
    if sizes.full.layers < stack.depth:
        transformer.model = truncated(transformer.auto_model, sizes.full.layers, stack)
    return model.train(), sizes
