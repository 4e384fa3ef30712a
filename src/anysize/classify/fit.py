"""Fitting MRL and MRL-E heads on frozen features (Kusupati et al. 2022, equation 1); equal seeds give equal results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.classify.method import MRLClassifier
from anysize.core.arguments import FINITE_ROWS, LABELS, takes
from anysize.core.errors import AnysizeError, DataError
from anysize.core.model.faces import Embeds
from anysize.core.sizes.widths import default_dims
from anysize.core.verbs.load import load
from anysize.core.verbs.method import options_of

if TYPE_CHECKING:
    import numpy as np

    from anysize.classify.classifier import Classifier
    from anysize.core.data.data import Data


def fit(method: MRLClassifier, data: Data, workdir: Path, resume: bool) -> Classifier:
    """
    Learn from labelled vectors, or labelled texts with a `model`; seconds, so `resume` just starts again.

    Features are read as they are: prefixes of ordinary vectors are as good as their first coordinates happen to be, so
    make the vectors nested first (`fit` with the method mrl), or train `MRLHead` together with the network. Texts are
    embedded on no side of a search (``encode``: neither queries nor documents), here and by the classifier: classes
    have none.

    Raises `DataError` if there are no labels, or texts without a model.
    """
    assert data.labels is not None  # the method needs them
    items = data.items()
    if items.vectors is not None:
        features = items.vectors
    elif method.model is None:
        raise DataError(f"{data.name} holds texts; name a saved anysize model that embeds them")
    else:
        embedder = load(method.model)
        if not isinstance(embedder, Embeds):
            raise AnysizeError(f"{method.model} holds a {embedder.kind}, which embeds no texts")
        features = embedder.encode(items.texts)
    model = fit_classifier(features, data.labels, method.dims, method=method)
    model.about |= {"learnt_from": "labelled vectors" if items.vectors is not None else "labelled texts"}
    return model


@takes(features=FINITE_ROWS, labels=LABELS)
def fit_classifier(
    features: np.ndarray,
    labels: Sequence[str | int] | np.ndarray,
    dims: Sequence[int] | None = None,
    *,
    method: MRLClassifier | None = None,
    **options: Any,
) -> Classifier:
    """
    A `Classifier` of frozen features (n, d) and n labels; `options` are the fields of `MRLClassifier`.

    Raises `DataError` for features that are not finite rows, or labels that do not match them.
    """
    import numpy as np
    import torch

    from anysize.classify.classifier import Classifier
    from anysize.classify.heads import nested_cross_entropy
    from anysize.core.sizes.nesting import Nesting

    if method is None:
        method = MRLClassifier(**options)
    elif options:
        raise AnysizeError("options belong to the method; set them there")
    x = torch.as_tensor(np.array(features, dtype=np.float32))
    if x.dim() != 2 or not len(x) or not torch.isfinite(x).all():
        raise DataError(f"features have shape {tuple(x.shape)}; expected finite rows of numbers, (n, d)")
    if len(labels) != len(x):
        raise DataError(f"{len(labels)} labels for {len(x)} rows of features; give one label per row")
    listed = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    classes = sorted(set(listed), key=lambda label: (isinstance(label, str), label))
    nesting = Nesting(dims=dims or method.dims or default_dims(x.shape[1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(method.seed)
        model = Classifier(nesting, x.shape[1], classes, efficient=method.efficient, per_dim_bias=method.per_dim_bias)
    y = model.places(listed)
    # Unit-length rows have tiny entries; with their scale taken out one learning rate serves all features.
    spread = float(x.std(correction=0)) or 1.0
    # A loop of its own: the trainer's checkpoints, bar and processes take longer than these seconds of training do.
    optimizer = torch.optim.AdamW(model.parameters(), lr=method.learning_rate, weight_decay=method.weight_decay)
    order = torch.Generator().manual_seed(method.seed)
    steps = method.epochs * -(-len(x) // method.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(method.epochs):
        for rows in torch.randperm(len(x), generator=order).split(method.batch_size):
            logits = model.head(x[rows] / spread)
            terms = nested_cross_entropy(
                logits, y[rows], nesting, label_smoothing=method.label_smoothing, reduction=method.reduction
            )
            optimizer.zero_grad()
            terms.total.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        for weight in model.head.weights:
            weight.div_(spread)
    model.about = {"method": "mrl-classifier", "options": options_of(method), "rows": len(x)}
    return model.eval()
