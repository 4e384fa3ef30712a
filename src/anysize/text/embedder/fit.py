"""
Fitting a nested embedder: a linear head over a frozen encoder, or the whole encoder with our loss.

Columns are features of one kind a name: anchor, positive, any negatives and the corpus; or vector alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.backbones.keeping.kept import FeatureStore
from anysize.backbones.sentence import Encoder, trainable
from anysize.backbones.texts.prompts import prompt_in
from anysize.core.data.data import Data
from anysize.core.data.records import Table
from anysize.core.errors import DataError
from anysize.core.losses.head import HeadRows, NeighbourHead, PairHead, as_tensor
from anysize.core.sides import side_of_texts, sides_of_columns
from anysize.core.sizes.nesting import Nesting
from anysize.core.training import trainer as training
from anysize.core.training.left_out import Judge, runner, watched
from anysize.core.training.trainer import TrainingPlan, train
from anysize.evaluation.principal import principal_rows
from anysize.text.embedder.method import MRL
from anysize.text.embedder.model import Embedder


def fit(method: MRL, data: Data, workdir: Path, resume: bool, judge: Judge | None = None) -> Embedder:
    """What the method `mrl` does: a head, or with ``tune="full"`` the whole encoder."""
    return (_head if method.tune == "head" else _whole)(method, data, workdir, resume, judge)


def _head(method: MRL, data: Data, workdir: Path, resume: bool, judge: Judge | None) -> Embedder:
    encoder = encoder_of(method) if data.items().vectors is None else None
    if encoder is not None:
        method.sizes(encoder.dimension)  # refuse impossible sizes before the slow part
    columns = training_features(method, data, encoder, workdir)
    model = head(method, columns, workdir, resume, judge=judge, encoder=encoder)
    if encoder is not None and encoder.store is not None:
        encoder.store.leave_folder()
    model.encoder = encoder
    return model


def _whole(method: MRL, data: Data, workdir: Path, resume: bool, judge: Judge | None) -> Embedder:
    if data.items().vectors is not None:
        raise DataError(f"{data.name} holds vectors; only texts can tune a full model (use --tune head)")
    pairs = data.training_pairs()
    if pairs is None:
        raise DataError(f"{data.name} has no pairs; tuning the full model needs them (or use --tune head)")
    return finetune(method, pairs, workdir, resume=resume, judge=judge)


def encoder_of(method: MRL) -> Encoder:
    """The encoder to start from. Raises `AnysizeError` if no model was named."""
    return Encoder(method.base_model())


def training_features(
    method: MRL, data: Data, encoder: Any = None, workdir: Path | None = None
) -> dict[str, np.ndarray]:
    """Frozen features to learn a head from: anchor, positive, any negatives and the corpus; or vector alone."""
    items = data.items()
    if items.vectors is not None:
        if method.model is not None:
            raise DataError(f"{data.name} holds vectors already; leave out the model")
        return {"vector": items.vectors}
    encoder = encoder or encoder_of(method)
    encoder.store = encoder.store or FeatureStore(workdir)
    encoder.keep_embeddings()  # for `measure`, which comes next and asks for the same texts
    pairs = data.training_pairs()
    if pairs is None:
        texts = [text for text in items.texts or [] if text.strip()]
        return {"vector": encoder.encode(texts, side=side_of_texts(method.sides), progress=True, bf16=method.bf16)}
    columns = pairs.paired
    if data.corpus is not None:
        columns["corpus"] = [text for text in items.texts or [] if text.strip()]
    sides = dict(zip(columns, sides_of_columns(method.sides, len(columns)), strict=True))
    if not encoder.tells_sides_apart:
        sides = dict.fromkeys(columns, sides["positive"])
    # One call for all columns of a side, so that one bar tells its whole time.
    for side in dict.fromkeys(sides.values()):
        texts = [text for name, column in columns.items() if sides[name] == side for text in column]
        encoder.encode(texts, side=side, progress=True, bf16=method.bf16)
    return {name: encoder.encode(column, side=sides[name], bf16=method.bf16) for name, column in columns.items()}


def head(
    method: MRL,
    columns: dict[str, np.ndarray],
    workdir: Path,
    resume: bool = False,
    *,
    judge: Judge | None = None,
    encoder: Encoder | None = None,
) -> Embedder:
    """Learn a head from `training_features`; the encoder is not attached, but to what a judge is shown."""
    corpus = columns.get("corpus")
    columns = {name: column for name, column in columns.items() if name != "corpus"}
    rows, width = next(iter(columns.values())).shape
    if rows < 8:
        raise DataError(f"{rows} rows are too few to learn from; give at least 8")
    if not any(column.any() for column in columns.values()):
        raise DataError("every vector is zeros, from which nothing can be learnt; give other vectors")
    nesting = Nesting(dims=method.sizes(width))
    start = principal_rows(np.concatenate(list(columns.values())) if corpus is None else corpus, nesting.full.dims)
    if "vector" in columns:
        module: Any = NeighbourHead(start, nesting, method.scale)
    else:
        queries = len(np.unique(columns["anchor"], axis=0))
        known = np.zeros((0, width), np.float32) if corpus is None else corpus
        keep = min(10.0, 0.2 * len(known) / queries) if method.keep is None else float(method.keep)
        module = PairHead(start, nesting, method.scale, as_tensor(known), keep)

    def made() -> Embedder:
        return Embedder(nesting, width, weight=module.weight.detach().cpu().clone(), encoder=encoder).eval()

    batch = method.batch_size or 512
    rows_learnt, watch = watched(method, HeadRows(**columns), batch, runner(module), judge, made)
    batch = min(batch, len(rows_learnt))
    plan = TrainingPlan.of(
        method,
        len(rows_learnt),
        epochs=method.epochs or max(20, math.ceil(300 / (len(rows_learnt) // batch))),
        batch_size=batch,
        learning_rate=method.learning_rate or 1e-3,
        warmup_ratio=0.05,
        bf16=False,
    )
    learnt = train(module, rows_learnt, plan, workdir, resume=resume, watch=watch)
    encoder = None
    model = made()
    model.about |= {"learnt_from": "vectors" if "vector" in columns else "pairs", "rows": rows, **learnt}
    return model


def finetune(method: MRL, pairs: Table, workdir: Path, *, resume: bool, judge: Judge | None = None) -> Embedder:
    """Tune every weight of the encoder with in-batch softmax at every size; the result has no head of its own."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import set_seed

    from anysize.text.losses.dims import MatryoshkaLoss

    encoder = encoder_of(method)
    model = trainable(encoder.model)
    nesting = Nesting(dims=method.sizes(encoder.dimension))
    columns = pairs.paired
    sides = dict(zip(columns, sides_of_columns(method.sides, len(columns)), strict=True))
    prompts = {name: prompt for name, side in sides.items() if (prompt := prompt_in(model, side))}
    routes = {name: side for name, side in sides.items() if side is not None}
    encoder.say_cut([prompts.get(name, "") + text for name, column in columns.items() for text in column])
    # Only the trained prefixes are offered; a nesting shorter than the encoder cuts its output.
    tuned = Embedder(nesting, encoder.dimension, encoder=encoder)
    batch = method.batch_size or 64
    table: Any = Dataset.from_dict(columns)
    rows, watch = watched(method, table, batch, lambda given: run(given), judge, lambda: tuned)
    if isinstance(rows, torch.utils.data.Subset):
        rows = table.select(rows.indices)
    plan = TrainingPlan.of(
        method,
        len(rows),
        epochs=method.epochs or 1,
        batch_size=batch,
        learning_rate=method.learning_rate or 5e-5,
    )
    set_seed(plan.seed)
    steps = training.total_steps(len(rows), plan)
    inner = MultipleNegativesRankingLoss(model, scale=method.scale)
    loss = MatryoshkaLoss(model, inner, matryoshka_dims=list(nesting.values("dims")))
    # The trainer fills an empty list with rows of the training data, under a bar of its own, for a page we never write.
    model.model_card_data.widget = [{}]
    with training.quiet():
        trainer = SentenceTransformerTrainer(
            model=model,
            args=training.arguments(
                plan, workdir, steps, SentenceTransformerTrainingArguments, prompts=prompts, router_mapping=routes
            ),
            train_dataset=rows,
            loss=loss,
        )

    def run(given: list[Any]) -> dict[str, Any]:
        value = trainer.compute_loss(model, trainer._prepare_inputs(trainer.data_collator(given)))
        return {"loss": value, "terms": loss.terms_by_size()}

    learnt = training.run_watched(trainer, model, plan, workdir, resume=resume, watch=watch)
    model.eval()
    tuned.about |= {"learnt_from": "pairs", "rows": len(pairs), **learnt}
    return tuned.eval()
