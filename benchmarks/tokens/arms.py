"""What each arm learns and answers: the same questions in the same order, the same base, the same steps."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.tokens.methods import M3, MQT
from anysize.tokens.vlm.asking import Asked
from anysize.tokens.vlm.fit import taught
from anysize.tokens.vlm.model import NestedVLM
from benchmarks.tokens.digits import KINDS, composites, questions

EACH, TEST = 3200, 500
"""Questions of each kind to learn from, and to be measured by."""
BATCH = 64


def learnt(method: M3 | MQT, seed: int, folder: Path, sizes: Sequence[int]) -> NestedVLM:
    """A model that learnt as `method` says, offering `sizes`, trained for or not."""
    asked = questions(composites(6000, test=False, seed=seed), EACH, seed=seed)
    rows = [Asked(one.picture, one.question, one.answer) for one in asked]
    workdir = folder / "work"
    model = taught(replace(method, seed=seed, batch_size=BATCH), rows, workdir, (workdir / "checkpoints").exists())
    shutil.rmtree(workdir)
    return NestedVLM(Nesting(tokens=tuple(sizes)), model.vlm, model.spec).eval()


@torch.no_grad()
def marks(model: NestedVLM, seed: int) -> dict[str, Any]:
    """Size -> a 0 or 1 for each test question and how far its two best tokens are apart; and the questions' kinds."""
    asked = questions(composites(1500, test=True, seed=seed), TEST, seed=seed)
    rows = [Asked(one.picture, one.question) for one in asked]
    read, found, sure = model.read(rows, batch_size=250), {}, {}
    for size in model.nesting:
        right, margin = [], []
        for start in range(0, len(rows), 250):
            part = slice(start, start + 250)
            kept = model.keep(read.tokens[read.which[part]], [size])[size]
            batch = model.vlm.batch(read.prompts[part], [[size.tokens]] * len(kept))
            logits = model.vlm.logits(batch, list(kept), last=1)[:, -1]
            best = logits.log_softmax(-1).topk(2)
            words = model.vlm.tokenizer.convert_ids_to_tokens(best.indices[:, 0].tolist())
            right += [int(word == one.answer) for word, one in zip(words, asked[part], strict=True)]
            margin += (best.values[:, 0] - best.values[:, 1]).tolist()
        found[str(size.tokens)], sure[str(size.tokens)] = "".join(map(str, right)), np.round(margin, 3).tolist()
    return {"marks": found, "kinds": [one.kind for one in asked], "margins": sure}


def accuracies(run: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Size -> accuracy over all questions (`all`), and for each kind."""
    kinds = np.array(run["kinds"])
    table = {size: np.array(list(bits), dtype=int) for size, bits in run["marks"].items()}
    return {
        size: {"all": float(bits.mean()), **{kind: float(bits[kinds == kind].mean()) for kind in KINDS}}
        for size, bits in table.items()
    }


def single(method: M3 | MQT, tokens: int) -> Any:
    """The twin of a method at one budget."""
    return method.single(Size(tokens=tokens))
