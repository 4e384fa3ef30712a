"""
What the method ``mrl`` does with pictures: a nested head over a frozen tower.

With labels it learns to tell the classes apart at every size, on four fifths of the pictures; without, to keep every
picture's neighbourhood. The start is the principal directions, as for texts.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError, DataError
from anysize.core.losses.head import HeadRows, NeighbourHead
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.left_out import Judge, runner, watched
from anysize.core.training.trainer import TrainingPlan, train
from anysize.evaluation.principal import principal_rows
from anysize.vision.encoder.heads import ClassHead
from anysize.vision.encoder.model import ImageEncoder
from anysize.vision.encoder.opening import learnt_from, opened, pooled_of
from anysize.vision.splitting import left_out


def fit(method: Any, data: Data, workdir: Path, resume: bool, judge: Judge | None = None) -> ImageEncoder:
    """
    A head over the tower that ``method.model`` names; `method` has the fields of `anysize.text.MRL`.

    Raises `DataError` for a single class or picture, `AnysizeError` for ``tune="full"``, which is what franca does.
    """
    if method.tune != "head":
        raise AnysizeError("pictures tune a whole model with --method franca; mrl learns a head over a frozen one")
    base = opened(method.base_model())
    nesting = Nesting(dims=method.sizes(base.tower.width))
    items, labels = data.items(), data.labels
    if labels is not None:
        learnt = np.flatnonzero(~left_out(items))
        items, labels = items.take(learnt), [labels[place] for place in learnt]
    part = Data(data.name, data.fingerprint, Items(items.ids, items.rows, items.of), labels=labels)
    squares, labels, note = learnt_from(part, base.tower.side, base.tower.crop, strict=False)
    features = pooled_of(base, squares)
    if not np.isfinite(features).all() or not features.any():
        raise DataError("the tower gives no finite vectors for these pictures; take another model")
    start, classes = principal_rows(features, nesting.full.dims), sorted(set(labels or ()), key=str)
    if labels is not None and len(classes) < 2:
        raise DataError(f"all pictures are {classes[0]!r}; give at least two classes, or pictures without labels")
    torch.manual_seed(method.seed)
    if labels is None:
        module: Any = NeighbourHead(start, nesting, method.scale)
        columns = {"vector": features}
    else:
        # One learning rate serves all towers once the scale of their features is taken out; directions do not change.
        spread = float(np.linalg.norm(features, axis=1).mean())
        module = ClassHead(start, len(classes), nesting, method.scale, method.labels)
        places = {name: place for place, name in enumerate(classes)}
        columns = {"vector": features / spread, "place": np.array([places[one] for one in labels], np.float32)}

    def made() -> ImageEncoder:
        return ImageEncoder(nesting, base.tower, weight=module.weight.detach().cpu().clone(), flat=base.flat).eval()

    batch = method.batch_size or 512
    rows, watch = watched(method, HeadRows(**columns), batch, runner(module), judge, made)
    batch = min(batch, len(rows))
    plan = TrainingPlan.of(
        method, len(rows), epochs=method.epochs or max(20, math.ceil(300 / (len(rows) // batch))), batch_size=batch,
        learning_rate=method.learning_rate or 1e-3, warmup_ratio=0.05, bf16=False,
    )  # fmt: skip
    told = train(module, rows, plan, workdir, resume=resume, watch=watch)
    model = made()
    what = "pictures" if labels is None else f"pictures of {len(classes)} classes"
    model.about |= {"learnt_from": what, "rows": len(features), **told, **({"left_out": note} if note else {})}
    return model
