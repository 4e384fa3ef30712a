"""What the method ``franca`` does: pictures in squares, a student and its teacher, whose tower is the model."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from anysize.core.data.data import Data
from anysize.core.errors import SizeError
from anysize.core.sizes.checks import whole_numbers
from anysize.core.sizes.nesting import Nesting
from anysize.core.training.left_out import runner, watched
from anysize.core.training.trainer import TrainingPlan, total_steps, train
from anysize.vision.encoder.model import ImageEncoder
from anysize.vision.encoder.opening import learnt_from, opened
from anysize.vision.franca.method import Franca
from anysize.vision.franca.training import FrancaTraining


def fit(method: Franca, data: Data, workdir: Path, resume: bool) -> ImageEncoder:
    """Train on all pictures; labels are not looked at. Raises `DataError` for fewer than fill a batch of two."""
    base = opened(method.base_model(), from_scratch=method.from_scratch)
    if method.from_scratch:
        torch.manual_seed(method.seed)
        base = opened(method.base_model(), from_scratch=True)
    nesting = Nesting(dims=sizes(method, base.tower.width))
    side = method.pixels or round(1.25 * base.tower.side)
    squares, _, note = learnt_from(data, side, 1.0, strict=method.strict, workdir=workdir)
    batch = min(method.batch_size, len(squares))
    prototypes, said = clusters(method, nesting, batch)
    if said and os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"note: {said}\n")
    plan = TrainingPlan.of(method, len(squares), batch_size=batch, schedule="cosine")
    torch.manual_seed(method.seed)
    base.tower.train()
    module = FrancaTraining(base.tower, method, nesting, prototypes, total_steps(len(squares), plan))
    rows, watch = watched(method, list(range(len(squares))), batch, runner(module, Batches(squares)))
    learnt = train(
        module, rows, plan, workdir, resume=resume, collate=Batches(squares), watch=watch, after_step=module.after_step
    )
    model = ImageEncoder(nesting, module.taught.tower.cpu())
    notes = [one for one in (note, said) if one]
    model.about = {
        "learnt_from": "pictures", "rows": len(squares), "prototypes": list(module.student.head.n_prototypes),
        **learnt, **({"notes": notes} if notes else {}),
    }  # fmt: skip
    return model.eval()


def sizes(method: Franca, width: int) -> tuple[int, ...]:
    """Those asked for, or the width and its halves down to a sixteenth. Raises `SizeError` for more than the width."""
    if method.dims is None:
        return tuple(sorted({max(2, width // part) for part in (16, 8, 4, 2, 1)}))
    dims = whole_numbers("dims", method.dims)
    if dims[-1] > width:
        raise SizeError(f"dims={dims[-1]} exceeds the model, whose vectors have {width} dimensions")
    return dims


def clusters(method: Franca, nesting: Nesting, batch: int) -> tuple[int, str]:
    """How many clusters the largest size has, and what is to be said if they cannot all be filled."""
    held = int(os.environ.get("WORLD_SIZE", "1")) * (2 * batch + method.queue)
    smallest, largest = nesting.values("dims")[0], nesting.values("dims")[-1]
    least = -(-2 * largest // smallest)
    if method.prototypes is None:
        return max(held, least), ""
    if method.prototypes < least:
        raise SizeError(f"{method.prototypes} prototypes leave the smallest size fewer than 2; give at least {least}")
    said = (
        f"{method.prototypes} prototypes are more than the {held} vectors of a batch and its queue, so they cannot all "
        "be filled at once; raise queue or batch-size, or lower prototypes"
    )
    return method.prototypes, said if method.prototypes > held else ""


class Batches:
    """Makes the arguments of `FrancaTraining` of the numbers of pictures."""

    def __init__(self, squares: torch.Tensor) -> None:
        self.squares = squares

    def __call__(self, rows: Sequence[int]) -> dict[str, Any]:
        """Squares and numbers."""
        places = torch.tensor([int(row) for row in rows])
        return {"squares": self.squares[places], "rows": places}
