"""
Linear-probe preservation (MSAE, Zaigrajew et al. 2025, arXiv 2502.20578, section 5): does a classifier of the original
vectors say the same of what is rebuilt of them?

One linear layer learns from vectors of unit length by AdamW and stops when its macro-F1 no longer rises; then held-out
originals and reconstructions pass through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from anysize.core.arguments import FINITE_ROWS, LABELS, number, takes, whole
from anysize.core.errors import DataError


@dataclass(frozen=True)
class Preserved:
    """How far a probe's answers survive."""

    kl: float
    """Mean ``KL(p(original) || p(rebuilt))`` in nats."""
    agreement: float
    """Share of rows with the same most likely class."""
    accuracy: float
    """Of the probe on the originals."""
    accuracy_rebuilt: float


class Probe:
    """A linear classifier of unit vectors; `classes` in sorted order."""

    def __init__(self, layer: torch.nn.Linear, classes: np.ndarray) -> None:
        self.layer, self.classes = layer, classes

    @torch.no_grad()
    def logits(self, vectors: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Log probabilities of vectors (n, d): (n, classes)."""
        return functional.log_softmax(self.layer(_unit(vectors)), dim=1)


@takes(
    vectors=FINITE_ROWS,
    labels=LABELS,
    learning_rate=number(above=0),
    batch_size=whole(),
    epochs=whole(),
    patience=whole(),
)
def fit_probe(
    vectors: np.ndarray,
    labels: Sequence[object] | np.ndarray,
    *,
    learning_rate: float = 1e-3,
    batch_size: int = 512,
    epochs: int = 100,
    patience: int = 5,
    seed: int = 0,
) -> Probe:
    """
    Learn to tell the classes of vectors (n, d), a tenth of which decide when to stop.

    Raises `DataError` if the counts differ or there is one class.
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(codes) != len(vectors) or len(classes) < 2 or len(vectors) < 10:
        raise DataError(
            f"{len(codes)} labels of {len(classes)} classes for {len(vectors)} rows; expected one a row, of two"
        )
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randperm(len(vectors), generator=random)
    x, y = _unit(vectors)[mixed], torch.from_numpy(codes)[mixed]
    held = max(1, len(x) // 10)
    layer = torch.nn.Linear(x.shape[1], len(classes))
    with torch.no_grad():
        bound = x.shape[1] ** -0.5
        layer.weight.uniform_(-bound, bound, generator=random)
        layer.bias.zero_()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=learning_rate)
    best, waited, kept = -1.0, 0, {name: value.clone() for name, value in layer.state_dict().items()}
    for _ in range(epochs):
        order = held + torch.randperm(len(x) - held, generator=random)
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            score = macro_f1(y[:held], layer(x[:held]).argmax(1), len(classes))
        if score > best:
            best, waited, kept = score, 0, {name: value.clone() for name, value in layer.state_dict().items()}
        else:
            waited += 1
            if waited == patience:
                break
    layer.load_state_dict(kept)
    return Probe(layer, classes)


def preserved(
    probe: Probe,
    vectors: np.ndarray,
    rebuilt: np.ndarray | torch.Tensor,
    labels: Sequence[object] | np.ndarray,
) -> Preserved:
    """What the probe says of held-out vectors (n, d) and of what was rebuilt of them."""
    before, after = probe.logits(vectors), probe.logits(rebuilt)
    kl = functional.kl_div(after, before, reduction="batchmean", log_target=True)
    said, now = before.argmax(1), after.argmax(1)
    truth = torch.from_numpy(np.searchsorted(probe.classes, np.asarray(labels)).clip(max=len(probe.classes) - 1))
    return Preserved(
        float(kl),
        float((said == now).float().mean()),
        float((said == truth).float().mean()),
        float((now == truth).float().mean()),
    )


def macro_f1(truth: torch.Tensor, said: torch.Tensor, classes: int) -> float:
    """The mean over classes of the harmonic mean of precision and recall; a class that never occurs counts as 0."""
    right = torch.bincount(truth[truth == said], minlength=classes).double()
    both = torch.bincount(truth, minlength=classes).double() + torch.bincount(said, minlength=classes).double()
    return float((2 * right / both.clamp_min(1)).mean())


def _unit(vectors: np.ndarray | torch.Tensor) -> torch.Tensor:
    rows = torch.as_tensor(np.array(vectors, np.float32) if isinstance(vectors, np.ndarray) else vectors).float()
    return functional.normalize(rows, dim=1)
