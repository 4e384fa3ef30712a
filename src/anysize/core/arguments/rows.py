"""Kinds of many things: texts, labels, vectors and rows of numbers."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from anysize.core.arguments.kind import Kind, Unfit, shown
from anysize.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np


def _texts(value: Any) -> list[str]:
    if isinstance(value, (str, bytes, Mapping, set, frozenset)):
        raise Unfit(f"is {shown(value)}, not a list" if isinstance(value, str) else "")
    numeric = hasattr(value, "detach") or getattr(getattr(value, "dtype", None), "kind", "O") in "fiubc"
    if numeric or getattr(value, "ndim", 1) != 1 or not isinstance(value, Iterable):
        raise Unfit
    texts = list(value)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise Unfit(f"holds {shown(text)} at place {place} (from 0)")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unfit(f"holds bytes that are not UTF-8 at place {place} (from 0)") from None
    return value if isinstance(value, list) else texts


def _rows(value: Any) -> Any:
    import numpy as np

    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or value is None:
        raise Unfit
    if getattr(value, "is_meta", False):
        raise Unfit("is a tensor without values")
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise Unfit("has masked values")
    try:
        held = value if hasattr(value, "dtype") and hasattr(value, "shape") else np.asarray(value)
    except (ValueError, TypeError):
        raise Unfit("has rows of different widths or kinds") from None
    if len(held.shape) != 2 or not held.shape[1] or not _is_real(held.dtype):
        raise Unfit(f"is {shown(held)}" if len(held.shape) else "")
    return held


def _finite_rows(value: Any) -> Any:
    import numpy as np

    held = _rows(value)
    array = held.detach().float().cpu().numpy() if hasattr(held, "detach") else np.asarray(held)
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32, copy=False)).all(1)
    if not finite.all():
        raise Unfit(f"holds NaN or a value too large for float32 in row {int(np.argmin(finite))}")
    return held


def _vector(value: Any) -> Any:
    import numpy as np

    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or getattr(value, "ndim", 1) != 1:
        raise Unfit
    try:
        rows = value[None] if hasattr(value, "dtype") else np.asarray([list(value)])
    except (ValueError, TypeError, KeyError):
        raise Unfit from None
    return _finite_rows(rows)[0]


def _labels(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or not isinstance(value, Iterable):
        raise Unfit
    if getattr(value, "ndim", 1) != 1:
        raise Unfit
    labels = value.tolist() if hasattr(value, "tolist") else list(value)
    for place, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, (str, numbers.Integral)):
            raise Unfit(f"holds {shown(label)} at place {place} (from 0)")
    return labels


def _is_real(dtype: Any) -> bool:
    """Whether a dtype, NumPy's or torch's, is one of real numbers."""
    if hasattr(dtype, "kind"):
        return dtype.kind in "fiu"
    return not getattr(dtype, "is_complex", False) and str(dtype) != "torch.bool"


def as_float32(rows: Any) -> np.ndarray:
    """A copy of rows as float32, where a value too large for it is infinite, without a warning."""
    import numpy as np

    with np.errstate(over="ignore"):
        return np.array(rows, np.float32)


TEXTS = Kind("a list of texts", _texts, DataError)
ROWS = Kind("rows of numbers, one vector a row", _rows, DataError)
"""An array, a tensor or shards as they are, a list as an array. Whether values are finite is left open."""
FINITE_ROWS = Kind("rows of finite numbers, one vector a row", _finite_rows, DataError)
VECTOR = Kind("one vector of finite numbers", _vector, DataError)
NUMBERS = Kind("a row of finite numbers", _vector, DataError)
LABELS = Kind("a list of labels, each a text or a whole number", _labels, DataError)
