"""From data to fitted autoencoders: rows, statistics, one pass of training for all, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anysize.core.errors import AnysizeError, DataError
from anysize.core.scratch import temporary_folder
from anysize.core.training.processes import device_of, joined
from anysize.core.verbs.method import stamp
from anysize.sparse.autoencoder.model import SEARCHED, SparseAutoencoder
from anysize.sparse.learning.calibration import calibrate
from anysize.sparse.learning.learner import Learner
from anysize.sparse.learning.loop import LearningPlan, train
from anysize.sparse.methods.csr import CSR
from anysize.sparse.methods.options import SparseOptions
from anysize.sparse.rows.stored import ArrayRows, Rows, mean_and_scale
from anysize.sparse.rows.stream import StreamRows

if TYPE_CHECKING:
    from anysize.core.data.data import Data

_START = 2048  # rows on which thresholds find where to start
_SHARED = (
    "model",
    "site",
    "cache",
    "stream",
    "buffer",
    "device",
    "max_length",
    "steps",
    "batch_size",
    "center",
    "rescale",
)


def fit(method: SparseOptions, data: Data, workdir: Path, resume: bool) -> SparseAutoencoder:
    """What every method of this room does: learn from vectors, or from texts with a model."""
    return fit_together([method], data, workdir=workdir, resume=resume)[0]


def fit_together(
    methods: Sequence[SparseOptions], data: Data, *, workdir: Path | None = None, resume: bool = False
) -> list[SparseAutoencoder]:
    """
    Fit several autoencoders (of any widths, numbers of active latents, systems and seeds) on one pass over the data.

    They see the same batches, in the order of the first one's seed. `workdir` keeps rows made from texts and
    checkpoints. Raises `AnysizeError` if their options disagree about the data or the length of training.
    """
    if workdir is None:
        with temporary_folder() as scratch:
            return fit_together(methods, data, workdir=scratch)
    first = methods[0]
    for name in _SHARED:
        if any(getattr(method, name) != getattr(first, name) for method in methods):
            raise AnysizeError(f"autoencoders that are fitted together share {name.replace('_', '-')}")
    device = device_of(first.device)
    with joined(device):
        rows = rows_for(methods, data, workdir)
        recipes = [method.recipe(rows.width) for method in methods]
        sample = rows.sample()
        mean, scale = mean_and_scale(sample, center=first.center, scale=first.rescale)
        batch = first.batch_size or min(512, max(1, rows.count // 4))
        plan = LearningPlan(first.steps or max(1000, rows.count // batch), batch)
        learners = [Learner(recipe, mean, scale, device) for recipe in recipes]
        for learner in learners:
            learner.begin(sample[:: -(-len(sample) // _START)])
        logs = train(learners, rows, plan, workdir, resume=resume)
        held_out = rows.held_out()
    fitted = []
    for method, learner, log in zip(methods, learners, logs, strict=True):
        sae = learner.sae
        if sae.activation in ("batchtopk", "jumprelu") and sae.active is not None:
            calibrate(sae, held_out, sae.active)
        sae.source = method.source()
        sae.about = {
            **stamp(method, data),
            "learnt_from": "vectors" if first.model is None else "texts" if first.site is None else "tokens",
            "rows": rows.count,
            "steps": plan.steps,
            "dead": log[-1].dead if log else None,
            "losses": [{"step": entry.step, "loss": entry.loss} for entry in log],
        }
        if isinstance(method, CSR):
            sae.evaluators = SEARCHED
        sae.requires_grad_(False)
        fitted.append(sae.to("cpu").eval())
    return fitted


def rows_for(methods: Sequence[SparseOptions], data: Data, workdir: Path) -> Rows:
    """The rows that these methods learn from, with partners or labels where a contrastive loss asks for them."""
    first, positives = methods[0], _positives(methods)
    if first.stream:
        if positives != "self":
            raise AnysizeError("positives other than self need rows that are stored; leave out stream")
        return _streamed(first, data, workdir)
    folder = Path(first.cache) if first.cache else workdir / "rows"
    if positives == "pair":
        return _paired(first, data, folder)
    vectors = first.source().of(data, folder)
    labels = _labels(data, len(vectors)) if positives == "label" else None
    return ArrayRows(vectors, seed=first.seed, labels=labels)


def _positives(methods: Sequence[SparseOptions]) -> str:
    """What is positive to those that contrast. Raises `AnysizeError` if they, or others beside them, disagree."""
    said = {method.positives for method in methods if isinstance(method, CSR)} - {"self"}
    if len(said) > 1 or (said and any(getattr(method, "positives", "") not in said for method in methods)):
        raise AnysizeError("autoencoders that are fitted together share what is positive")
    return next(iter(said), "self")


def _paired(method: SparseOptions, data: Data, folder: Path) -> Rows:
    """The rows of anchors, each with that of its positive as a partner."""
    pairs = data.training_pairs()
    if pairs is None:
        raise DataError(f"{data.name} holds no pairs; use --positives self, or give pairs or judgements")
    count = len(pairs)
    both = method.source().rows([*pairs["anchor"], *pairs["positive"]], folder)
    if len(both) != 2 * count:
        raise DataError("pairs need one row a text; leave out the site")
    return ArrayRows(both[:count], partners=both[count:], seed=method.seed)


def _labels(data: Data, count: int) -> np.ndarray:
    """The label of each row, as a number."""
    if data.labels is None or len(data.labels) != count:
        raise DataError(f"{data.name} has no label for each row; use --positives self, or add a column label")
    return np.unique(np.array([str(label) for label in data.labels]), return_inverse=True)[1]


def _streamed(method: SparseOptions, data: Data, workdir: Path) -> StreamRows:
    source = method.source()
    groups = source.groups(data)
    return StreamRows(groups, source.runner(), buffer=method.buffer, seed=method.seed, folder=workdir)
