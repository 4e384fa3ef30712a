"""Fitting task adapters in two stages: the whole encoder on pairs, then adapters over it, frozen (arXiv 2409.10173)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.backbones.texts.cut_texts import say_cut
from anysize.core.data.columns import columns_of
from anysize.core.digests import SEAL, check_seal, seal
from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.core.files import new_directory, read_json, write_json
from anysize.core.training.trainer import TrainingPlan
from anysize.text.tasks.data import TaskSet, adapters_of, read_task_sets
from anysize.text.tasks.method import Tasks
from anysize.text.tasks.model import TaskEncoder, TaskLoRA
from anysize.text.tasks.training import train_adapters

if TYPE_CHECKING:
    from anysize.backbones.sentence import Encoder
    from anysize.core.data.data import Data


def fit(method: Tasks, data: Data, workdir: Path, resume: bool) -> TaskEncoder:
    """The encoder that `method` describes, trained on `data` (pairs, or nothing) and on the data of its tasks."""
    method.base_model()
    sets = read_task_sets(method.task)
    _same_data(sets, workdir / "tasks.json")
    base, first = _base(method, data, workdir, resume)
    encoder = TaskLoRA(
        base.model,
        adapters_of(sets),
        dims=method.nesting(base.dimension).values("dims"),
        r=method.r,
        lora_alpha=method.lora_alpha,
        lora_dropout=method.lora_dropout,
        embedding=method.embedding,
        instructions=None if method.instructions else {},
        seed=method.seed,
    )
    _say_cut(encoder, sets)
    plan = TrainingPlan.of(method, method.batch_size)
    learnt = train_adapters(
        encoder,
        sets,
        plan,
        workdir / "adapters",
        steps=method.steps,
        temperature=method.temperature,
        resume=resume,
        watch=method.watch,
        patience=method.patience,
    )
    encoder.about = {
        "learnt_too": [{"task": one.task, "name": one.name, "fingerprint": one.fingerprint} for one in sets],
        "learnt_from": f"rows for {', '.join(dict.fromkeys(one.task for one in sets))}",
        "rows": sum(map(len, sets)),
        "base_losses": first,
        **learnt,
    }
    return encoder


def _say_cut(encoder: TaskEncoder, sets: Sequence[TaskSet]) -> None:
    """Tell how many texts are longer, behind their instruction, than the model reads."""
    texts = [
        encoder.prompt_of(one.adapter_of(place)) + text
        for one in sets
        for place, column in enumerate(one.columns)
        for text in column
    ]
    limit = encoder.encoder.settings["max_length"]
    say_cut(texts, encoder.encoder.tokenizer, limit, advice="; --max-length sets where")


def _same_data(sets: Sequence[TaskSet], kept: Path) -> None:
    """Note what the tasks learn from; raise `AnysizeError` if this run was started with other content."""
    now = [[one.task, one.name, one.fingerprint] for one in sets]
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, now)
    elif (before := read_json(kept, "an unfinished run")) != now:
        changed = next((one[0] for one, other in zip(now, before, strict=False) if one != other), "the tasks")
        raise AnysizeError(
            f"the unfinished run at {kept.parent} was started with different data for {changed}; use the same to resume"
        )


def _base(method: Tasks, data: Data, workdir: Path, resume: bool) -> tuple[Encoder, list[dict[str, float]]]:
    """The encoder under the adapters, tuned on pairs if there are any, and the losses of that."""
    from anysize.backbones.sentence import Encoder

    assert method.model is not None
    tuned = workdir / "base"
    if tuned.exists():
        try:
            check_seal(tuned)
        except CheckpointError as error:
            raise CheckpointError(f"{error}, or delete {tuned} to tune the encoder again") from None
        base, losses = Encoder(str(tuned)), read_json(tuned / "losses.json", "the losses of an unfinished run")
        if method.max_length is not None:
            base.model.max_seq_length = method.max_length
        return base, losses
    base = Encoder(method.model)
    if method.max_length is not None:
        base.model.max_seq_length = method.max_length
    if data.corpus is None and data.table is None:
        return base, []
    losses = _tune(method, data, base, workdir / "pairs", resume)
    with new_directory(tuned, marker=SEAL) as folder:
        base.save(folder)
        write_json(folder / "losses.json", losses)
        seal(folder)
    return base, losses


def _tune(method: Tasks, data: Data, base: Encoder, workdir: Path, resume: bool) -> list[dict[str, float]]:
    """Train every weight of the encoder on pairs, in both directions and at every width."""
    from anysize.backbones.sentence import trainable
    from anysize.core.training.left_out import runner, watched
    from anysize.core.training.trainer import train
    from anysize.text.depth.fit import TextTraining
    from anysize.text.losses.dims import MatryoshkaLoss
    from anysize.text.tasks.losses import InfoNCELoss, TripletInfoNCELoss

    pairs = data.training_pairs()
    if pairs is None or len(pairs) < 2:
        raise DataError(
            f"{data.name} has no pairs to tune the encoder on; expected anchor, positive[, negative], "
            "or write none to train the adapters alone"
        )
    columns = columns_of(pairs, method.sides)
    model: Any = trainable(base.model).train()
    base.say_cut([text for column in columns.columns for text in column], "; --max-length sets where", side="document")
    temperature = method.temperature or 0.05
    inner = (TripletInfoNCELoss if pairs.negatives else InfoNCELoss)(model, temperature)
    dims = list(method.nesting(base.dimension).values("dims"))
    nested: Any = MatryoshkaLoss(model, inner, matryoshka_dims=dims)
    training = TextTraining(model, nested, columns.sides)
    rows, watch = watched(method, columns, method.batch_size, runner(training, training.collate))
    plan = TrainingPlan.of(method, len(rows), epochs=method.base_epochs, learning_rate=method.base_learning_rate)
    learnt = train(training, rows, plan, workdir, resume=resume, collate=training.collate, watch=watch)
    model.eval()
    losses: list[dict[str, float]] = learnt["losses"]
    return losses
