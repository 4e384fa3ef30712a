"""What the method ``mme`` does: a vision-language model that learns to bring queries and their documents together."""

from __future__ import annotations

from pathlib import Path

from anysize.core.data.data import Data
from anysize.core.data.held_out import key_of
from anysize.core.errors import DataError
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.left_out import runner, watched
from anysize.core.training.trainer import TrainingPlan, train
from anysize.tokens.retrieval.method import MME
from anysize.tokens.retrieval.model import Interleaved
from anysize.tokens.retrieval.sequences import numbered
from anysize.tokens.retrieval.training import Batches, RetrievalTraining, Row
from anysize.tokens.vlm.fit import opened, usual
from anysize.tokens.vlm.training import training_parts


def untrained(method: MME) -> Interleaved:
    """The model that the method starts from, with its budgets. Raises `AnysizeError` if none was named."""
    vlm = opened(method)
    tokens = method.tokens or usual(method.grid or vlm.shape)
    return Interleaved(Nesting(tokens=tokens), vlm, method.pooling("avg"), method.max_length)


def fit(method: MME, data: Data, workdir: Path, resume: bool) -> Interleaved:
    """Learn from the pairs of `data` that are not held out, or from the judgements of its train split."""
    pairs = data.training_pairs()
    if pairs is None:
        raise DataError(f"{data.name} has no pairs to learn from; give pairs, or judgements in qrels/train.tsv")
    columns = [[numbered(cell, f"{name} {row}") for row, cell in enumerate(one)] for name, one in pairs.paired.items()]
    rows: list[Row] = list(zip(*columns, strict=True))
    if len(rows) < 2:
        raise DataError(f"{len(rows)} pair is too few to learn from; give at least 2")
    model = untrained(method)
    distinct = {key_of(one): one for column in columns for one in column}
    cut = model.tell_cut(model.prompts(distinct.values()), model.nesting)
    module, batches = RetrievalTraining(model, method.draw, method.temperature, method.seed), Batches(model, rows)
    batch = min(method.batch_size, len(rows))
    kept, watch = watched(method, rows, batch, runner(module, batches))
    plan = TrainingPlan.of(method, len(kept), batch_size=batch, warmup_ratio=0.1)
    with training_parts(model, method.train, method.lora):
        if not model.net.config.tie_word_embeddings:
            model.net.lm_head.requires_grad_(False)  # what foretells words takes no part in a vector
        learnt = train(module, kept, plan, workdir, resume=resume, collate=batches, watch=watch)
    not_whole = {str(size): one.items for size, one in cut.items() if one.items}
    model.about = {"learnt_from": "pairs", "rows": len(rows), "items_cut": not_whole, **learnt}
    return model.eval()
