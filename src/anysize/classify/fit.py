"""Fitting MRL and MRL-E heads on frozen features (Kusupati et al. 2022, equation 1); equal seeds give equal results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anysize.core.arguments import FINITE_ROWS, LABELS, takes
from anysize.core.errors import AnysizeError, DataError
from anysize.core.fitting import options_of
from anysize.core.widths import default_dims

if TYPE_CHECKING:
    import numpy as np

    from anysize.classify.classifier import Classifier
    from anysize.core.data import Data


@dataclass(frozen=True)
class MRLClassifier:
    """
    Learns a classifier for every size, over vectors or over the embeddings of a saved anysize model.

    Features are read as they are: prefixes of ordinary vectors are as good as their first coordinates happen to be, so
    make the vectors nested first (`fit` with the method mrl), or train `MRLHead` together with the network. Texts are
    embedded on no side of a search (``encode``: neither queries nor documents), here and by the classifier: classes
    have none.
    """

    model: str | None = None
    """A saved anysize model that embeds texts. Not needed for vectors."""
    dims: tuple[int, ...] | None = None
    """Sizes to train, increasing, for example 8,16,32,64. Default: powers of two from 8, and the width."""
    efficient: bool = False
    """One tied head for all sizes (MRL-E): about half the weights, weaker at the smallest sizes."""
    per_dim_bias: bool = False
    """With efficient, a bias of its own for each size: wanted where features are not centred (most are not)."""
    epochs: int = 30
    """Passes over the training data."""
    batch_size: int = 256
    """Rows per step."""
    learning_rate: float = 3e-2
    """Peak learning rate, decayed linearly to zero."""
    weight_decay: float = 1e-2
    """Decoupled weight decay."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes (the paper's ImageNet models use 0.1)."""
    reduction: Literal["sum", "mean"] = "sum"
    """Add the losses of the sizes as in the paper, or average them."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise AnysizeError(f"{name.replace('_', '-')} must be above zero; got {getattr(self, name)}")
        if not 0 <= self.label_smoothing < 1:
            raise AnysizeError(f"label-smoothing is a share from 0 to below 1; got {self.label_smoothing}")

    def fit(self, data: Data, *, workdir: Path | None = None, resume: bool = False) -> Classifier:
        """
        Learn from labelled vectors, or labelled texts with a `model`; seconds, so `resume` just starts again.

        Raises `DataError` if there are no labels, or texts without a model.
        """
        if data.labels is None:
            raise DataError(f"{data.name} has no labels to learn from; add a column label")
        items = data.items()
        if items.vectors is not None:
            features = items.vectors
        elif self.model is None:
            raise DataError(f"{data.name} holds texts; name a saved anysize model that embeds them")
        else:
            from anysize.core.registry import load

            embedder: Any = load(self.model)
            if not hasattr(embedder, "encode"):
                raise AnysizeError(f"{self.model} holds a {embedder.kind}, which embeds no texts")
            features = embedder.encode(items.texts)
        model = fit_classifier(features, data.labels, self.dims, method=self)
        learnt_from = "labelled vectors" if items.vectors is not None else "labelled texts"
        model.about |= {"data": {"name": data.name, "fingerprint": data.fingerprint}, "learnt_from": learnt_from}
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
    from anysize.core.sizes import Nesting

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
