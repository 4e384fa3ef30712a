"""How well vectors are rebuilt: error shares and angles, over a data set or row by row."""

from __future__ import annotations

import numpy as np
import torch

from anysize.core.arguments import FINITE_ROWS, takes
from anysize.core.errors import DataError

Vectors = torch.Tensor | np.ndarray
_TINY = 1e-12


@takes(x=FINITE_ROWS, rebuilt=FINITE_ROWS)
def fvu(x: Vectors, rebuilt: Vectors) -> float:
    """
    Fraction of variance unexplained, ``sum |x - x'|^2 / sum |x - mean|^2`` over rows (n, d).

    Raises `DataError` if the shapes differ, or all rows are the same.
    """
    a, b = _pair(x, rebuilt)
    total = (a - a.mean(0)).square().sum()
    if not total > 0:
        raise DataError("all rows are the same, so there is no variance to explain")
    return float((a - b).square().sum() / total)


@takes(x=FINITE_ROWS, rebuilt=FINITE_ROWS)
def fvu_per_sample(x: Vectors, rebuilt: Vectors) -> float:
    """
    Mean over rows of ``var(x - x') / var(x)``, each variance over the row's own coordinates (MSAE's scripts).

    An error that is the same in every coordinate is not seen, and every row counts alike, whatever its length.
    """
    a, b = _pair(x, rebuilt)
    return float(((a - b).var(1, correction=0) / a.var(1, correction=0).clamp_min(_TINY)).mean())


@takes(x=FINITE_ROWS, rebuilt=FINITE_ROWS)
def cosine(x: Vectors, rebuilt: Vectors) -> float:
    """Mean cosine of rows with what is rebuilt of them; a large common mean makes it high for anything."""
    a, b = _pair(x, rebuilt)
    return float(torch.nn.functional.cosine_similarity(a, b, dim=1, eps=_TINY).mean())


def _pair(x: Vectors, rebuilt: Vectors) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = (torch.as_tensor(np.array(part) if isinstance(part, np.ndarray) else part).double() for part in (x, rebuilt))
    if a.shape != b.shape or a.dim() != 2 or not len(a):
        raise DataError(f"expected as many rows of one width; got shapes {tuple(a.shape)} and {tuple(b.shape)}")
    return a, b
