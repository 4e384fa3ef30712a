"""Fine-tuning a whole sentence encoder so that its prefixes nest: SentenceTransformerTrainer with our loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anysize.core.data import Pairs
from anysize.core.records import negative_names
from anysize.core.sides import sides_of_columns
from anysize.core.sizes import Nesting
from anysize.text.prompts import prompt_in

if TYPE_CHECKING:
    from anysize.text.embedder import Embedder
    from anysize.text.mrl import MRL


def finetune(method: MRL, pairs: Pairs, workdir: Path, *, resume: bool) -> Embedder:
    """Tune every weight of the encoder with in-batch softmax at every size; the result has no head of its own."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import set_seed

    from anysize.core import training
    from anysize.text.embedder import Embedder
    from anysize.text.encoder import trainable
    from anysize.text.losses import MatryoshkaLoss

    encoder = method.encoder()
    model = trainable(encoder.model)
    nesting = Nesting(dims=method.sizes(encoder.dimension))
    columns = dict(zip(("anchor", "positive", *negative_names(pairs)), pairs.columns, strict=True))
    sides = dict(zip(columns, sides_of_columns(method.sides, len(columns)), strict=True))
    prompts = {name: prompt for name, side in sides.items() if (prompt := prompt_in(model, side))}
    routes = {name: side for name, side in sides.items() if side is not None}
    encoder.say_cut([prompts.get(name, "") + text for name, column in columns.items() for text in column])
    plan = training.TrainingPlan(
        epochs=method.epochs or 1,
        batch_size=min(method.batch_size or 64, len(pairs)),
        learning_rate=method.learning_rate or 5e-5,
        seed=method.seed,
        warmup_ratio=0.1,
        bf16=method.bf16,
    )
    set_seed(plan.seed)
    steps = training.total_steps(len(pairs), plan)
    inner = MultipleNegativesRankingLoss(model, scale=method.scale)
    # The trainer fills an empty list with rows of the training data, under a bar of its own, for a page we never write.
    model.model_card_data.widget = [{}]
    with training.quiet():
        trainer = SentenceTransformerTrainer(
            model=model,
            args=training.arguments(
                plan, workdir, steps, SentenceTransformerTrainingArguments, prompts=prompts, router_mapping=routes
            ),
            train_dataset=Dataset.from_dict(columns),
            loss=MatryoshkaLoss(model, inner, matryoshka_dims=list(nesting.levels("dims"))),
        )
        training.use_plain_bar(trainer)
    losses = training.run(trainer, workdir, resume=resume)
    model.eval()
    # Only the trained prefixes are offered; a nesting shorter than the encoder cuts its output.
    tuned = Embedder(nesting, encoder.dimension, encoder=encoder)
    tuned.about |= {"learnt_from": "pairs", "rows": len(pairs), "losses": losses}
    return tuned.eval()
