"""What the methods ``m3`` and ``mqt`` do: the model, its projector first, then what else should learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.backbones.vision.join import joined
from anysize.backbones.vision.llava import VisionLanguage
from anysize.backbones.vision.opening import open_vlm
from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.trainer import TrainingPlan
from anysize.evaluation.answers import questions_of, right
from anysize.tokens.budget.grid import GridPool
from anysize.tokens.chooser import FEWEST, Chooser
from anysize.tokens.draws import Draw
from anysize.tokens.methods import M3, MQT, Budgeted
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.model import NestedVLM
from anysize.tokens.vlm.training import learn

ASKED = 500
"""Held-out questions that are enough to learn a choice of budget from."""


def untrained(method: M3 | MQT) -> NestedVLM:
    """The model that a method starts from, with its budgets. Raises `AnysizeError` if none was named."""
    vlm = opened(method)
    if isinstance(method, M3):
        tokens = method.tokens or usual(method.grid or vlm.shape)
        return NestedVLM(Nesting(tokens=tokens), vlm, method.pooling(method.pool) | method.adapter())
    nesting = method.nesting()
    budget = {
        "kind": "queries",
        "queries": nesting.full.tokens,
        "heads": method.heads,
        "key_source": method.key_source,
        **method.adapter(),
    }
    return NestedVLM(nesting, vlm, budget)


def opened(method: Budgeted) -> VisionLanguage:
    """
    The vision-language model that a method starts from, or its tower and language model, joined.

    Raises `AnysizeError` if none was named, or a layer without a tower.
    """
    name = method.base_model()
    if method.tower is not None:
        return joined(method.tower, name, layer=method.tower_layer)
    if method.tower_layer != -1:
        raise AnysizeError(
            f"{name} says itself which layer of its tower it reads; give tower-layer beside --tower alone"
        )
    return open_vlm(name)


def usual(shape: tuple[int, ...]) -> tuple[int, ...]:
    """M3's grids, each of which pools the next finer by its smallest divisor: 24 x 24 gives 1, 9, 36, 144, 576."""
    whole, side = GridPool().counts(shape), math.gcd(*shape)
    found, window = [whole[-1]], 1
    while side > 1:
        step = next(one for one in range(2, side + 1) if side % one == 0)
        side //= step
        window *= step
        found.append(whole[-1] // window**2)
    return tuple(reversed(found))


def taught(method: M3 | MQT, questions: Sequence[Asked], workdir: Path, resume: bool) -> NestedVLM:
    """A model that has learnt from questions with answers. Raises `DataError` if there are fewer than two."""
    if len(questions) < 2:
        raise DataError(f"{len(questions)} questions are too few to learn from; give at least 2")
    torch.manual_seed(method.seed)  # queries, and what joins a tower to a language model, begin at random
    model = untrained(method)
    common: dict[str, Any] = {
        "batch_size": min(method.batch_size, len(questions)),
        "seed": method.seed,
        "bf16": method.bf16,
        "warmup_ratio": 0.03,
    }
    losses = []
    if method.align_epochs:
        plan = TrainingPlan(epochs=method.align_epochs, learning_rate=method.align_rate, **common)
        plain = {name: value for name, value in model.spec.items() if name != "adapter"}
        whole = NestedVLM(Nesting.pairs([model.nesting.full]), model.vlm, plain)
        losses += learn(whole, questions, plan, workdir / "align", draw=Draw("all"), parts="projector", resume=resume)
    plan = TrainingPlan(epochs=method.epochs, learning_rate=method.learning_rate, **common)
    losses += learn(
        model, questions, plan, workdir, draw=Draw(method.draw), parts=method.train, lora=method.lora, resume=resume
    )
    model.about = {"learnt_from": "questions", "rows": len(questions), "losses": losses}
    return model.eval()


def fit(method: M3 | MQT, data: Data, workdir: Path, resume: bool) -> NestedVLM:
    """
    Learn from the questions of `data` about pictures that are not held out.

    Of the questions that are, up to `ASKED` teach which budget to take for which question.
    """
    learnt = questions_of(data, "learn")
    rows = [
        Asked(parts[0]["image"], parts[1]["text"], answers[0])
        for parts, answers in zip(learnt.rows, learnt.answers, strict=True)
        if answers and answers[0].strip()
    ]
    model = taught(method, rows, workdir, resume)
    kept = questions_of(data, "held out")
    if len(model.nesting) > 1 and len(kept.rows) >= FEWEST:
        model.chooser = chooser(model, kept.rows[:ASKED], kept.answers[:ASKED])
    return model


def chooser(model: NestedVLM, rows: Sequence[Any], answers: Sequence[Sequence[str]]) -> Chooser:
    """What chooses a budget for each question, taught by questions that the model has not learnt from."""
    read = model.read(rows)
    said = [model.at(size).answers(read, max_new_tokens=16) for size in model.nesting]
    marks = np.array([[right(one, wanted) for one, wanted in zip(each, answers, strict=True)] for each in said]).T
    return Chooser.fit(model.margins(read), marks, [int(size.tokens) for size in model.nesting])
