"""What the method ``rasa`` does: patch tokens of pictures, planes of position in them, one matrix behind the tower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anysize.core.data.data import Data
from anysize.core.errors import AnysizeError
from anysize.vision.encoder.model import ImageEncoder
from anysize.vision.encoder.opening import learnt_from, opened, tokens_of
from anysize.vision.rasa.method import TakePositionOut
from anysize.vision.rasa.probing import Grid
from anysize.vision.rasa.removing import RASA


def fit(method: TakePositionOut, data: Data, workdir: Path, resume: bool) -> ImageEncoder:
    """Minutes at most, so `resume` begins anew. Raises `AnysizeError` for a model whose position is out already."""
    base = opened(method.base_model(), layers=method.layers)
    if base.flat is not None:
        raise AnysizeError(f"{method.model} has its position taken out already; start from the model it was made of")
    Grid.of(base.tower.grid)
    every = max(1, -(-len(data.items()) // method.pictures))
    items = data.items().take(range(0, len(data.items()), every))
    few = replace(data, corpus=items, labels=None, table=None)
    squares, _, note = learnt_from(few, base.tower.side, base.tower.crop, strict=method.strict)
    found = rasa(method).fit(tokens_of(base, squares))
    model = ImageEncoder(base.nesting, base.tower, weight=base.weight, flat=found.matrix_)
    model.about = {
        "learnt_from": "pictures",
        "rows": len(squares),
        "planes": len(found.components_),
        "position_r2": [round(one, 4) for one in found.position_r2_],
        **({"left_out": note} if note else {}),
    }
    return model.eval()


def rasa(method: TakePositionOut) -> RASA:
    """As the options say."""
    return RASA(
        method.planes, solver=method.solver, orthogonal=not method.official, stop=method.stop, lr=method.learning_rate,
        epochs=method.epochs, batch_size=method.batch_size, seed=method.seed,
    )  # fmt: skip
