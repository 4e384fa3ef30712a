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
    for method in methods:
        for name in _SHARED:
            if getattr(method, name) != getattr(first, name):
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
    first = methods[0]
    positives = {method.positives for method in methods if isinstance(method, CSR)} - {"self"}
    if len(positives) > 1 or (
        positives and any(getattr(method, "positives", "") not in positives for method in methods)
    ):
        raise AnysizeError("autoencoders that are fitted together share what is positive")
    if first.stream:
        if positives:
            raise AnysizeError("positives other than self need rows that are stored; leave out stream")
        return _streamed(first, data, workdir)
    folder = Path(first.cache) if first.cache else workdir / "rows"
    source = first.source()
    if positives == {"pair"}:
        pairs = data.training_pairs()
        if pairs is None:
            raise DataError(f"{data.name} holds no pairs; use --positives self, or give pairs or judgements")
        count = len(pairs)
        both = source.rows([*pairs["anchor"], *pairs["positive"]], folder)
        if len(both) != 2 * count:
            raise DataError("pairs need one row a text; leave out the site")
        return ArrayRows(both[:count], partners=both[count:], seed=first.seed)
    vectors = source.of(data, folder)
    labels = None
    if positives == {"label"}:
        if data.labels is None or len(data.labels) != len(vectors):
            raise DataError(f"{data.name} has no label for each row; use --positives self, or add a column label")
        labels = np.unique(np.array([str(label) for label in data.labels]), return_inverse=True)[1]
    return ArrayRows(vectors, seed=first.seed, labels=labels)


def _streamed(method: SparseOptions, data: Data, workdir: Path) -> StreamRows:
    source = method.source()
    groups = source.groups(data)
    return StreamRows(groups, source.runner(), buffer=method.buffer, seed=method.seed, folder=workdir)
